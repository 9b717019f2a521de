"""Makes tests/data/parity: logits the original frameworks give for `awkward` weights and images.

    python tests/weights/make_parity.py torch              # torch, timm 1.0, torchvision 0.28
    python tests/weights/make_parity.py official FOLDER    # TensorFlow

FOLDER is a SavedModel that the original trainer (tensorflow/tpu, models/official/mnasnet) exported
of mnasnet-a1 0.35 with 10 classes; its graph is run, its weights are replaced.
"""

import sys
from collections import OrderedDict
from pathlib import Path

import numpy as np
from awkward import awkward, images
from bundles import official_names
from parity_cases import CASES, DATA
from torches import state_dict

MEAN, STD = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])


def keep(name: str, side: int, logits: np.ndarray) -> None:
    DATA.mkdir(exist_ok=True)
    np.save(DATA / f"{name}_{side}.npy", logits.astype(np.float32))


def with_torch() -> None:
    import torch

    library = torch.library.Library("torchvision", "DEF")
    for name in ("nms", "qnms"):  # so that a build for another torch is imported
        library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    import timm
    import torchvision

    for name, case in CASES.items():
        if case.family == "official":
            continue
        network = case.network(case.sides[0])
        named = state_dict(network, awkward(network, case.seed), case.family)
        classes = network.classes
        if case.family == "timm":
            model = timm.create_model(case.model, num_classes=classes)
        else:
            model = torchvision.models.get_model(case.model, num_classes=classes)
        content = OrderedDict((key, torch.from_numpy(np.array(v))) for key, v in named.items())
        content._metadata = {"": {"version": 2}}
        model.load_state_dict(content)
        model.eval()
        for side in case.sides:
            pixels = ((images(side) / 255 - MEAN) / STD).astype(np.float32)
            inputs = torch.from_numpy(pixels.transpose(0, 3, 1, 2).copy())
            with torch.no_grad():
                keep(name, side, model(inputs).numpy())


def with_tensorflow(folder: str) -> None:
    import tensorflow
    from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

    v1 = tensorflow.compat.v1
    content = (Path(folder) / "saved_model.pb").read_bytes()
    definition = SavedModel.FromString(content).meta_graphs[0].graph_def
    for node in definition.node:  # they name the size that was exported
        node.attr.pop("_output_shapes", None)
    for name, case in CASES.items():
        if case.family != "official":
            continue
        network = case.network(case.sides[0])
        values = official_names(network, awkward(network, case.seed))
        for side in case.sides:
            with tensorflow.Graph().as_default() as graph, v1.Session() as session:
                place = v1.placeholder(tensorflow.float32, [None, side, side, 3])
                v1.import_graph_def(definition, input_map={"Placeholder:0": place}, name="")
                for variable, value in values.items():
                    assign = graph.get_operation_by_name(f"{variable}/Assign")
                    session.run(assign, {assign.inputs[1]: value})
                logits = graph.get_tensor_by_name(f"{case.model}/BiasAdd:0")
                keep(name, side, session.run(logits, {place: images(side)}))


if __name__ == "__main__":
    with_torch() if sys.argv[1] == "torch" else with_tensorflow(sys.argv[2])
