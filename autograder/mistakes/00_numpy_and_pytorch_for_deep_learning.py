"""What learners may write instead in 00, with the hint for each."""

from autograder.engine.mistakes import Mistake

MISTAKES = [
    Mistake(
        "one_hot",
        "whole_columns",
        "every row has all the ones. `Y[:, y]` selects whole columns; the row index must be paired with y.",
        {"Y[np.arange(y.shape[0]), y]": "Y[:, y]"},
    ),
    Mistake(
        "one_hot",
        "integer_targets",
        "the zeros were made with an integer dtype; targets are float64, the dtype of the probabilities they meet.",
        {"np.zeros((y.shape[0], K))": "np.zeros((y.shape[0], K), dtype=int)"},
    ),
    Mistake(
        "one_hot",
        "classes_from_data",
        "the number of columns is taken from the labels, so it is too small when the last class does not occur. Use K.",
        {"np.zeros((y.shape[0], K))": "np.zeros((y.shape[0], y.max() + 1))"},
    ),
]
