"""A folder that is no adapter, or half of one, is told from a whole one before anything is loaded."""

import json

import pytest
import torch
from safetensors.torch import save_file

from biasunlearn.errors import RequestError
from biasunlearn.models.adapter_files import check_adapter


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "adapter_config.json").write_text(json.dumps({"peft_type": "LORA"}))
    save_file({"a.lora_A": torch.ones(2, 3), "b": torch.ones(5)}, tmp_path / "adapter_model.safetensors", {"x": "y"})
    return tmp_path


def test_a_whole_one_gives_its_configuration(folder):
    assert check_adapter(folder).to_dict() == {"peft_type": "LORA"}
    (folder / "adapter_model.safetensors").rename(folder / "adapter_model.bin")
    assert check_adapter(str(folder)).to_dict() == {"peft_type": "LORA"}  # what is in it is for the library to say


@pytest.mark.parametrize("left", [0, 7, 8, 60, -1])
def test_cut_weights_are_told_wherever_they_are_cut(folder, left):
    path = folder / "adapter_model.safetensors"
    path.write_bytes(path.read_bytes()[:left])
    with pytest.raises(RequestError, match="adapter_model.safetensors: damaged or cut off; copy it again"):
        check_adapter(folder)


@pytest.mark.parametrize(
    ("config", "message"),
    [(None, r"no adapter here \(adapter_config.json is missing\)"),
     ('{"peft_type": ', "json: cannot be read: not JSON: Exp"),
     ("[]", "json: must be an object"), (b"\xff\xfe\x00", "json: cannot be read")],
)  # fmt: skip
def test_a_configuration_that_cannot_be_read_is_one_line(folder, config, message):
    path = folder / "adapter_config.json"
    path.unlink()
    if config is not None:
        path.write_bytes(config if isinstance(config, bytes) else config.encode())
    with pytest.raises(RequestError, match=message):
        check_adapter(folder)


def test_missing_weights_are_named(folder):
    (folder / "adapter_model.safetensors").unlink()
    with pytest.raises(RequestError, match=r"an adapter without weights \(adapter_model.safetensors is missing\)"):
        check_adapter(folder)
