"""`pytest autograder/` is a command of the learner: see :mod:`course.learn.face`."""

from course.learn.face import (  # noqa: F401 (pytest finds its hooks here)
    pytest_addoption,
    pytest_collection_finish,
    pytest_configure,
    pytest_pycollect_makemodule,
    pytest_report_teststatus,
    pytest_terminal_summary,
    pytest_xdist_make_scheduler,
)
