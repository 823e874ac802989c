"""Rebuilds a network from the JSON of a `torch.export` graph, with generated names and operators from a list.

A name from the file is used only as a key: torch.fx and AOTInductor generate source code and paste names into it. Anything
beyond a plain network (nested graphs, custom objects, changed weights, training) is refused.
"""

import operator
import re
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import torch
from torch import fx, nn

from pipeline_assets.classify.operators import ARITHMETIC, ASSERTIONS, SIZE_OPERATORS, SIZES, TENSOR_OPERATORS

MAX_NODES = 20_000
MAX_LIST = 2_000
"""Of values in one argument. A dense block joins a few dozen tensors."""
_NAME = re.compile(r"[\w.\-]{1,400}")
_STRING = re.compile(r"[a-z_]{1,30}|[A-Za-z, .>-]{1,100}")
"""A mode such as `reflect`, or the equation of an einsum."""
_TENSOR_KINDS = ("as_tensor", "as_tensors", "as_optional_tensor", "as_optional_tensors")
T = TypeVar("T")


class Refused(Exception):
    """Something in a file that is not allowed. The message continues a sentence that starts with the file's path."""


def of_archive(value: Any, kind: type[T]) -> T:
    """The value, if it has this type. Raises Refused otherwise."""
    if type(value) is not kind:
        raise Refused(f"has {value!r:.60} where {kind.__name__} belongs")
    return value


def rebuild(
    program: Mapping[str, Any], weights: Mapping[str, torch.Tensor], dtypes: Mapping[int, torch.dtype]
) -> fx.GraphModule:
    """Build the network of an exported program's JSON: photos -> a tuple of tensors, one for each output.

    weights: by the names that the program has for them; dtypes: by their number in the JSON. The network makes new tensors
    on the device of the photos, wherever it was exported; its `meta["photos"]` is the shape that it was exported
    for, with None for any. Raises Refused.
    """
    graph, signature = program["graph_module"]["graph"], program["graph_module"]["signature"]
    builder = _Builder(weights, dtypes)
    for spec in of_archive(signature["input_specs"], list):
        builder.take_in(spec)
    nodes = of_archive(graph["nodes"], list)
    if len(nodes) > MAX_NODES:
        raise Refused(f"has {len(nodes):,} operators, more than {MAX_NODES:,}")
    for node in nodes:
        builder.call(node)
    network = builder.finish(signature["output_specs"])
    shapes = {name: graph["tensor_values"].get(name, {}) for name, node in builder.tensors.items() if node is builder.photos}
    network.meta["photos"] = [size.get("as_int") for shape in shapes.values() for size in shape.get("sizes", [])]
    return network


class _Builder:
    """Builds a graph. tensors and numbers: its nodes by the file's names; numbers are sizes, never values of a tensor."""

    def __init__(self, weights: Mapping[str, torch.Tensor], dtypes: Mapping[int, torch.dtype]) -> None:
        self.weights, self.dtypes = weights, dtypes
        self.root, self.graph = nn.Module(), fx.Graph()
        self.photos = self.graph.placeholder("photos")
        self.device = self.graph.call_function(getattr, (self.photos, "device"))
        self.tensors: dict[str, fx.Node] = {}
        self.numbers: dict[str, fx.Node] = {}

    def take_in(self, spec: Mapping[str, Any]) -> None:
        """Add an input: the photos, or a weight."""
        ((kind, body),) = spec.items()
        if kind == "user_input":
            if self.photos in self.tensors.values():
                raise Refused("has more than one input")
            self._name(self.tensors, body["arg"]["as_tensor"]["name"], self.photos)
        elif kind in ("parameter", "buffer", "tensor_constant"):
            self._name(self.tensors, body["arg"]["name"], self._weight(body[f"{kind}_name"]))
        else:
            raise Refused(f"has an input of the kind {kind!r:.60}; photos and weights are allowed")

    def _weight(self, name: str) -> fx.Node:
        own_name = f"weight_{len(self.tensors)}"
        tensor = self.weights[_checked(name)]
        if tensor.is_floating_point():
            self.root.register_parameter(own_name, nn.Parameter(tensor, requires_grad=False))
        else:
            self.root.register_buffer(own_name, tensor)
        return self.graph.create_node("get_attr", own_name)

    def _name(self, values: dict[str, fx.Node], name: str, node: fx.Node) -> None:
        if _checked(name) in values:
            raise Refused(f"has two values {name!r:.60}")
        values[name] = node

    def call(self, node: Mapping[str, Any]) -> None:
        """Add one operator and its results."""
        target = of_archive(node["target"], str)
        if target in ASSERTIONS:
            return
        arguments_by_name = {entry["name"]: entry["arg"] for entry in of_archive(node["inputs"], list)}
        if target in ARITHMETIC:
            numbers = tuple(self._number(argument) for argument in arguments_by_name.values())
            result = self.graph.call_function(ARITHMETIC[target], numbers)
        else:
            result = self._call_operator(target, arguments_by_name)
        is_number = target in ARITHMETIC or target in SIZE_OPERATORS
        self._results(of_archive(node["outputs"], list), result, is_number=is_number)

    def _call_operator(self, target: str, arguments_by_name: Mapping[str, Any]) -> fx.Node:
        if target.removeprefix("torch.ops.aten.") not in TENSOR_OPERATORS and target not in SIZE_OPERATORS:
            raise Refused(
                f"calls {target!r:.100}, which is not on the list of operators for classifiers "
                "(pipeline_assets/classify/operators.py): write that step with usual layers, "
                "and export without run_decompositions()"
            )
        packet, _, overload = target.removeprefix("torch.ops.aten.").partition(".")
        function = getattr(getattr(torch.ops.aten, packet), overload)
        arguments = function._schema.arguments
        if unknown := arguments_by_name.keys() - {argument.name for argument in arguments}:
            raise Refused(f"gives {target} the argument {min(unknown)!r:.60}, which it does not have")
        positional: list[Any] = []
        keyword: dict[str, Any] = {}
        for index, argument in enumerate(arguments):
            if argument.name in arguments_by_name:
                value = self._argument(target, argument, arguments_by_name[argument.name])
                if argument.kwarg_only or index > len(positional):
                    keyword[argument.name] = value
                else:
                    positional.append(value)
        return self.graph.call_function(function, tuple(positional), keyword)

    def _argument(self, target: str, declared: Any, argument: Mapping[str, Any]) -> Any:
        """One argument. declared: its entry in the operator's schema."""
        ((kind, value),) = argument.items()
        name = declared.name
        if name in ("train", "dropout_p") and value:
            raise Refused(f"calls {target} as in training: call eval() on the network before it is exported")
        if kind in _TENSOR_KINDS and "Tensor" not in str(declared.type):
            raise Refused(f"gives {target} a tensor as {name}; sizes can't depend on what a photo shows")
        if kind.startswith("as_sym") and name not in SIZES:
            raise Refused(f"gives {target} a {name} that depends on how many photos there are: use constants")
        return self._value(kind, value)

    def _value(self, kind: str, value: Any) -> Any:
        """An argument's value by its kind in the JSON: see `Argument` in torch/_export/serde/schema.py."""
        if kind.endswith("s") and type(value) is list:
            if len(value) > MAX_LIST:
                raise Refused(f"has {len(value):,} values in one argument, more than {MAX_LIST:,}")
            return [self._value(kind[:-1], element) for element in value]
        match kind:
            case "as_tensor":
                return self.tensors[value["name"]]
            case "as_optional_tensor" | "as_sym_int" | "as_sym_float":
                ((inner, element),) = value.items()
                return self.numbers[element] if inner == "as_name" else self._value(inner, element)
            case "as_scalar_type":
                return self.dtypes[value]
            case "as_device":
                return self.device
        if kind not in _CONSTANTS:
            raise Refused(f"has an argument of the kind {kind!r:.60}; numbers, modes and dense tensors are allowed")
        return _CONSTANTS[kind](value)

    def _number(self, argument: Mapping[str, Any]) -> Any:
        ((kind, value),) = argument.items()
        if kind not in ("as_int", "as_float", "as_bool", "as_sym_int", "as_sym_float"):
            raise Refused(f"calculates sizes with {kind!r:.60}; numbers are allowed")
        return self._value(kind, value)

    def _results(self, outputs: list[Any], result: fx.Node, *, is_number: bool) -> None:
        """Name what an operator gives: a number, a tensor, a list of tensors, or several tensors, each in its place."""
        if is_number:
            ((_, value),) = outputs[0].items()
            self._name(self.numbers, value["as_name"], result)
            return
        if len(outputs) == 1 and "as_tensor" in outputs[0]:
            self._name(self.tensors, outputs[0]["as_tensor"]["name"], result)
            return
        if len(outputs) == 1 and "as_tensors" in outputs[0]:
            outputs = [{"as_tensor": tensor} for tensor in of_archive(outputs[0]["as_tensors"], list)]
        for index, output in enumerate(outputs):
            ((kind, value),) = output.items()
            if kind == "as_tensor":
                self._name(self.tensors, value["name"], self.graph.call_function(operator.getitem, (result, index)))
            elif kind != "as_none":
                raise Refused(f"has a result of the kind {kind!r:.60}")

    def finish(self, outputs: list[Mapping[str, Any]]) -> fx.GraphModule:
        """The network, once all operators are called."""
        if any(set(output) != {"user_output"} for output in of_archive(outputs, list)):
            raise Refused("changes its own weights: call eval() on the network before it is exported")
        self.graph.output(tuple(self.tensors[output["user_output"]["arg"]["as_tensor"]["name"]] for output in outputs))
        return fx.GraphModule(self.root, self.graph)


def _checked(name: Any) -> str:
    """A name, if it is one: torch.export writes no other."""
    if not _NAME.fullmatch(of_archive(name, str)):
        raise Refused(f"has the name {name!r:.60}; letters, digits, dots, hyphens and underscores are allowed")
    return str(name)


def _int(value: Any) -> int:
    if not -(2**63) <= of_archive(value, int) < 2**63:
        raise Refused("has a number of more than 64 bits")
    return int(value)


def _float(value: Any) -> float:
    return float(value if value in ("Infinity", "-Infinity", "NaN") else of_archive(value, float))


def _string(value: Any) -> str:
    if not _STRING.fullmatch(of_archive(value, str)):
        raise Refused(f"has the text {value!r:.60} as an argument; modes and equations are allowed")
    return str(value)


_CONSTANTS: dict[str, Callable[[Any], Any]] = {
    "as_none": lambda _: None,
    "as_int": _int,
    "as_float": _float,
    "as_bool": lambda value: of_archive(value, bool),
    "as_string": _string,
    # By number of `MemoryFormat` and `Layout` in torch/_export/serde/schema.py.
    "as_memory_format": {1: torch.contiguous_format, 2: torch.channels_last, 4: torch.preserve_format}.__getitem__,
    "as_layout": {7: torch.strided}.__getitem__,
}
