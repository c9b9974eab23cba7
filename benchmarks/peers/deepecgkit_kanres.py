"""deepecgkit: KanRes, the network of its examples, and its trainer with its default settings."""

from types import SimpleNamespace

import torch
from deepecgkit import ECGTrainer, build_model
from torch.utils.data import DataLoader, TensorDataset


def fit(beats, seed, epochs, folder):
    def loader(fold, shuffle=False):
        arrays = TensorDataset(torch.from_numpy(beats[f"{fold}_x"]), torch.from_numpy(beats[f"{fold}_y"]))
        return DataLoader(arrays, batch_size=32, shuffle=shuffle)

    ECGTrainer.seed_everything(seed)
    loaders = {
        "train_dataloader": lambda: loader("train", shuffle=True),
        "val_dataloader": lambda: loader("validation"),
    }
    trainer = ECGTrainer(build_model("kanres", input_channels=1, output_size=5))
    trainer.fit(SimpleNamespace(**loaders), epochs=epochs, checkpoint_dir=folder, progress_bar=False)

    def predict(fold):
        trainer.test(SimpleNamespace(test_dataloader=lambda: loader(fold)))
        return trainer.get_test_results()[0]

    return predict
