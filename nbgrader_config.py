"""All that nbgrader needs to know of this course: its own commands work in this folder, and on a hub."""

import os
import sys
import warnings

# nbgrader calls `alembic` by name: find it also when the environment is used without being activated
os.environ["PATH"] = os.path.dirname(sys.executable) + os.pathsep + os.environ.get("PATH", "")

# nbgrader 0.9 sets off a warning of newer SQLAlchemy, many times and to no one's use
warnings.filterwarnings("ignore", message="Object of type .* not in session")

c = get_config()  # noqa: F821 (nbgrader provides it)

c.CourseDirectory.course_id = "sutskever30"
c.CourseDirectory.solution_directory = "solutions"

# Stubs as nbgrader makes them, each stamped with its version, with the pictures of the executed solution.
c.GenerateAssignment.preprocessors = [
    "nbgrader.preprocessors.IncludeHeaderFooter",
    "nbgrader.preprocessors.LockCells",
    "nbgrader.preprocessors.ClearSolutions",
    "course.make.build.nbgrader_steps.NameBans",
    "nbgrader.preprocessors.ClearOutput",
    "nbgrader.preprocessors.CheckCellMetadata",
    "nbgrader.preprocessors.ComputeChecksums",
    "nbgrader.preprocessors.SaveCells",
    "nbgrader.preprocessors.ComputeChecksums",
    "course.make.build.nbgrader_steps.StampRelease",
    "course.make.build.pictures.ShowPictures",
    "nbgrader.preprocessors.CheckCellMetadata",
]

# Worked solutions are executed, then cleaned of markers and version noise; a cell that raises stops it.
c.Execute.timeout = 300
c.CoalesceStreamsPreprocessor.enabled = True  # how a kernel cuts what is printed differs from run to run
c.GenerateSolution.preprocessors = [
    "nbgrader.preprocessors.IncludeHeaderFooter",
    "nbgrader.preprocessors.LockCells",
    "nbgrader.preprocessors.ClearOutput",
    "nbgrader.preprocessors.ClearMarkScheme",
    "nbgrader.preprocessors.Execute",
    "nbconvert.preprocessors.CoalesceStreamsPreprocessor",
    "course.make.build.nbgrader_steps.CleanSolution",
]

# Submissions are repaired before nbgrader looks at their cells, and graded by probes instead of being executed.
c.Autograde.exporter_class = "course.teach.nbgrader_steps.SubmissionReader"
c.Autograde.sanitize_preprocessors = [
    "course.teach.nbgrader_steps.RepairSubmission",
    "nbgrader.preprocessors.ClearOutput",
    "nbgrader.preprocessors.DeduplicateIds",
    "nbgrader.preprocessors.OverwriteKernelspec",
    "nbgrader.preprocessors.OverwriteCells",
    "nbgrader.preprocessors.CheckCellMetadata",
]
c.Autograde.autograde_preprocessors = [
    "course.teach.nbgrader_steps.GradeSubmission",
    "nbgrader.preprocessors.LimitOutput",
    "course.teach.nbgrader_steps.SaveVerdicts",
    "course.teach.pages.ShowRubrics",
    "nbgrader.preprocessors.AssignLatePenalties",
    "nbgrader.preprocessors.CheckCellMetadata",
]

# Feedback pages are made of the grades that count: also where there is an older one. They need no network.
c.GenerateFeedback.force = True
c.GenerateFeedback.exporter_class = "course.teach.pages.FeedbackPage"
c.GenerateFeedback.preprocessors = [
    "course.teach.pages.ShowGrades",
    "nbconvert.preprocessors.CSSHTMLHeaderPreprocessor",
    "course.teach.pages.StyleFeedback",
]

# A column per exercise, text in quotes, no formulas, and blank what has no score. Other systems' files come with
# --exporter=course.teach.exports.CanvasExport, MoodleExport or GradescopeExport.
c.ExportApp.plugin_class = "course.teach.exports.CsvExport"
