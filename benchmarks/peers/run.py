"""One measurement, in the environment of a peer: `python run.py SCRIPT BEATS.npz OUTPUT.npz SEED EPOCHS FOLDER`.

SCRIPT has ``fit(beats, seed, epochs, folder)``, which trains and returns a function from the name of a fold to the
predicted class of each of its beats. Needs numpy and what SCRIPT imports.
"""

import importlib
import sys
import time
from pathlib import Path

import numpy as np


def clock() -> np.ndarray:
    return np.array([time.perf_counter(), time.process_time()])


def main(script: str, beats: str, output: str, seed: str, epochs: str, folder: str) -> None:
    fit = importlib.import_module(script).fit
    with np.load(beats) as file:
        arrays = dict(file)
    started = clock()
    predict = fit(arrays, int(seed), int(epochs), Path(folder))
    trained = clock()
    test = predict("test")
    predicted = clock()
    times = {"fit_s": trained - started, "predict_s": predicted - trained}
    np.savez(output, test=test, validation=predict("validation"), **times)


if __name__ == "__main__":
    main(*sys.argv[1:])
