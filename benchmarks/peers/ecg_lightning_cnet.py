"""This package: its default experiment, by its Python interface; it cuts and divides the beats itself."""

import ecg_lightning as ecg


def fit(beats, seed, epochs, folder):
    overrides = [*beats["overrides"].tolist(), f"seed={seed}", f"trainer.max_epochs={epochs}", "trainer=cpu"]
    ecg.train(ecg.compose(overrides, output_dir=folder))
    predictor = ecg.load_predictor(folder / "checkpoints/best.ckpt")
    return lambda fold: predictor(beats[f"{fold}_x"], beats[f"{fold}_lengths"]).argmax(1)
