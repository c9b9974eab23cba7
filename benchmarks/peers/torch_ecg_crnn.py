"""torch_ecg: ECG_CRNN and a trainer derived from its own, with what its configuration of MIT-BIH has for beats.

The backbone has the basic blocks of that family: the bottlenecks of the configuration take three times as long.
"""

from copy import deepcopy

import torch
from sklearn.metrics import f1_score
from torch.utils.data import DataLoader, TensorDataset
from torch_ecg.components.trainer import BaseTrainer
from torch_ecg.databases.datasets.mitdb.mitdb_cfg import MITDBTrainCfg
from torch_ecg.model_configs import ECG_CRNN_CONFIG
from torch_ecg.models.ecg_crnn import ECG_CRNN
from torch_ecg.utils.utils_nn import adjust_cnn_filter_lengths


class BeatTrainer(BaseTrainer):
    batch_dim = 0
    extra_required_train_config_fields = []  # noqa: RUF012

    def _setup_dataloaders(self, train_dataset=None, val_dataset=None):
        self.train_loader = DataLoader(self.dataset_cls("train"), batch_size=self.batch_size, shuffle=True)
        self.val_loader = DataLoader(self.dataset_cls("validation"), batch_size=512)

    def run_one_step(self, signals, labels):
        return self.model(signals), labels

    @torch.no_grad()
    def evaluate(self, data_loader):
        self.model.eval()
        labels, predicted = zip(*((y.argmax(1), self.model(x).argmax(1)) for x, y in data_loader), strict=True)
        self.model.train()
        return {"f1_measure": f1_score(torch.cat(labels), torch.cat(predicted), average="macro")}


def fit(beats, seed, epochs, folder):
    def dataset(fold):
        labels = torch.nn.functional.one_hot(torch.from_numpy(beats[f"{fold}_y"]), 5).float()
        return TensorDataset(torch.from_numpy(beats[f"{fold}_x"]), labels)

    torch.manual_seed(seed)
    model_config = adjust_cnn_filter_lengths(deepcopy(ECG_CRNN_CONFIG), fs=125)
    model_config.cnn.name = "resnet_nature_comm_se"
    train_config = deepcopy(MITDBTrainCfg)
    train_config.update(train_config.beat_classification)
    train_config.update(
        {"classes": list("NSVFQ"), "n_epochs": epochs, "debug": False, "random_flip": False, "log_dir": folder}
    )
    train_config.update({"checkpoints": folder, "model_dir": folder})
    model = ECG_CRNN(train_config.classes, 1, model_config)
    trainer = BeatTrainer(model, dataset, model_config, train_config)
    model.load_state_dict(trainer.train())
    model.eval()

    @torch.no_grad()
    def predict(fold):
        return torch.cat([model(x).argmax(1) for x, _ in DataLoader(dataset(fold), batch_size=512)]).numpy()

    return predict
