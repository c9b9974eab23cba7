"""aeon: MiniRocket with its default 10,000 kernels, and ridge regression.

Solved once, with alpha 1: the default, `RidgeClassifierCV`, decomposes all features, which is many times the work.
"""

from aeon.classification.convolution_based import MiniRocketClassifier
from sklearn.linear_model import RidgeClassifier


def fit(beats, seed, epochs, folder):
    ridge = RidgeClassifier(solver="cholesky")
    model = MiniRocketClassifier(estimator=ridge, n_jobs=2, random_state=seed).fit(beats["train_x"], beats["train_y"])
    return lambda fold: model.predict(beats[f"{fold}_x"])
