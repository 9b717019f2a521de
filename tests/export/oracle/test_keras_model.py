"""The Keras model of a network: what a user trains and what TFLiteConverter reads."""

import sys
from dataclasses import replace

import numpy as np
import pytest

from mnasnet_deploy.arch.counts import count_network
from mnasnet_deploy.arch.network import build_network
from mnasnet_deploy.arch.variants import spec_from_mapping
from mnasnet_deploy.errors import NotReadyError, SpecError, WeightsError
from mnasnet_deploy.export.build import export_bytes
from mnasnet_deploy.export.graph import Options
from mnasnet_deploy.export.tensorflow import convert, keras_model, layer_name
from mnasnet_deploy.weights.initial import initial_weights

needs_tensorflow = [
    pytest.mark.tensorflow,
    pytest.mark.slow,
    pytest.mark.usefixtures("tensorflow"),
]


TINY = {
    "name": "tiny",
    "stem": {"channels": 8},
    "blocks": ["r1_k3_s11_e1_i8_o8", "r2_k5_s22_e3_i8_o16_se0.25"],
    "head": {"channels": 32},
    "classes": 10,
}


def tiny():
    """A network with every kind of layer."""
    return build_network(spec_from_mapping(TINY), resolution=32)


class TestWithTensorFlow:
    pytestmark = needs_tensorflow

    def test_it_holds_the_canonical_weights_bit_for_bit(self, network_of, lively_weights):
        network = network_of("a1", 0.35, 32)
        weights = lively_weights(network)
        model = keras_model(network, weights)
        seen = 0
        for layer in network.layers:
            if not layer.weights:
                continue
            values = {"kernel": model.get_layer(layer_name(layer.name)).get_weights()[0]}
            if layer.bias:
                values["bias"] = model.get_layer(layer_name(layer.name)).get_weights()[1]
            if layer.batch_norm:
                norm = model.get_layer(f"{layer_name(layer.name)}_bn")
                values["bn.gamma"], values["bn.beta"] = norm.gamma, norm.beta
                values["bn.mean"], values["bn.variance"] = norm.moving_mean, norm.moving_variance
            for part, value in values.items():
                expected = weights.tensors[f"{layer.weights}.{part}"]
                np.testing.assert_array_equal(np.asarray(value), expected)
                seen += 1
        assert seen == len(weights.tensors)

    def test_it_counts_as_many_parameters_as_the_network(self):
        network = tiny()
        model = keras_model(network, initial_weights(network))
        trainable = sum(int(np.prod(variable.shape)) for variable in model.trainable_variables)
        assert trainable == count_network(network).params

    def test_its_batch_norm_is_unfolded_with_the_networks_epsilon(self):
        network = replace(tiny(), batch_norm_epsilon=0.5)
        model = keras_model(network, initial_weights(network))
        norms = [each for each in model.layers if type(each).__name__ == "BatchNormalization"]
        assert len(norms) == sum(layer.batch_norm for layer in network.layers)
        assert {norm.epsilon for norm in norms} == {0.5}
        assert {norm.momentum for norm in norms} == {0.99}

    def test_a_training_step_moves_its_weights_and_lowers_the_loss(self, tensorflow):
        network = tiny()
        model = keras_model(network, initial_weights(network))
        random = np.random.default_rng(0)
        images = random.normal(size=(8, 32, 32, 3)).astype(np.float32)
        classes = random.integers(0, network.classes, 8)
        loss = tensorflow.keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile(tensorflow.keras.optimizers.SGD(0.01), loss)
        before = model.get_layer("stem").get_weights()[0]
        losses = model.fit(images, classes, batch_size=8, epochs=3, verbose=0).history["loss"]
        assert losses[-1] < losses[0]
        assert (model.get_layer("stem").get_weights()[0] != before).any()

    @pytest.mark.parametrize("variant", ["a1", "mobilenet-v2"])
    def test_its_logits_are_those_of_our_file(self, variant, network_of, lively_weights, run_file):
        network = network_of(variant, 0.35, 65)
        weights = lively_weights(network)
        images = np.random.default_rng(0).normal(size=(2, 65, 65, 3)).astype(np.float32)
        theirs = np.asarray(keras_model(network, weights)(images))
        exact = export_bytes(network, weights, "float32", options=Options(input="normalized"))
        ours = run_file(exact, images)
        assert np.abs(ours - theirs).max() <= 2e-4 * np.abs(theirs).max()

    def test_converting_writes_nothing_to_the_screen(self, capfd):
        network = tiny()
        data, contract = convert(network, initial_weights(network), "float32")
        assert data[4:8] == b"TFL3"
        assert contract.line().startswith("feed float32 [1,32,32,3] RGB image, grey levels 0..255")
        assert capfd.readouterr() == ("", "")

    def test_unequal_strides_are_an_error_that_names_the_layer(self):
        spec = spec_from_mapping(
            {"name": "odd", "blocks": ["r1_k3_s12_e1_i32_o16"], "head": {"channels": 16}}
        )
        network = build_network(spec, resolution=32, classes=3)
        with pytest.raises(SpecError, match="block0/depthwise has strides 1 and 2"):
            keras_model(network, initial_weights(network))

    def test_weights_of_another_network_are_an_error(self):
        weights = initial_weights(build_network(spec_from_mapping(TINY), resolution=32, classes=9))
        with pytest.raises(WeightsError, match="needs"):
            keras_model(tiny(), weights)


def test_without_tensorflow_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorflow", None)
    network = tiny()
    weights = initial_weights(network)
    with pytest.raises(NotReadyError, match=r"pip install 'mnasnet-deploy\[tensorflow\]'") as error:
        keras_model(network, weights)
    assert "\n" not in str(error.value)
    assert error.value.exit_code == 3
