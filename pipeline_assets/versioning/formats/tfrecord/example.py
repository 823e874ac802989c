"""`tf.train.Example` as bytes, by protobuf.

    message Example  { Features features = 1; }
    message Features { map<string, Feature> feature = 1; }
    message Feature  { oneof kind { BytesList bytes_list = 1; FloatList float_list = 2; Int64List int64_list = 3; } }
    message BytesList { repeated bytes value = 1; }   FloatList { repeated float value = 1 [packed]; }   Int64List likewise

The map is declared as what it is in the bytes, entries of a key and a value, so that features keep their order.
Source: tensorflow/core/example/{example,feature}.proto; protobuf.dev/programming-guides/encoding, on maps.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from google.protobuf import message, message_factory
from google.protobuf.descriptor_pb2 import FieldDescriptorProto, FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool

BYTES, FLOATS, INTEGERS = 1, 2, 3
Values = Sequence[bytes] | npt.NDArray[Any]
Feature = tuple[int, Values]
"""A kind of the three above, and values: bytes, or an array of float32 or int64."""

_LISTS = {BYTES: "bytes_list", FLOATS: "float_list", INTEGERS: "int64_list"}
_KINDS = {name: kind for kind, name in _LISTS.items()}
_ARRAYS = {FLOATS: np.float32, INTEGERS: np.int64}


class BadExample(ValueError):
    """Bytes that are no Example."""


def encode(features: Mapping[str, Feature]) -> bytes:
    """The message, features in the order given. A feature without values keeps its kind.

    An array's integers from 2**63 on are written as the negative ones of the same bits, as protobuf's int64 has it.
    """
    example = _Example()
    example.features.SetInParent()  # a row of nulls has features, too: none
    for name, (kind, values) in features.items():
        kept = getattr(example.features.feature.add(key=name).value, _LISTS[kind])
        kept.SetInParent()
        kept.value.extend(values.astype(_ARRAYS[kind]).tolist() if isinstance(values, np.ndarray) else values)
    data: bytes = example.SerializeToString()
    return data


def decode(data: bytes) -> dict[str, Feature]:
    """What `encode` wrote, or any other encoder. Features without a kind are left. Raises BadExample."""
    try:
        example = _Example.FromString(data)
    except message.DecodeError as error:
        raise BadExample(f"no tf.train.Example: {error}") from None
    features: dict[str, Feature] = {}
    for entry in example.features.feature:
        if name := entry.value.WhichOneof("kind"):
            kind, values = _KINDS[name], getattr(entry.value, name).value
            features[entry.key] = kind, list(values) if kind == BYTES else np.array(values, _ARRAYS[kind])
    return features


def _declared() -> Any:
    """The class of the message Example."""
    kinds = FieldDescriptorProto
    file = FileDescriptorProto(name="example.proto", package="darkroom", syntax="proto3")

    def declare(name: str, **fields: tuple[int, str | int]) -> Any:
        """A message whose fields are (label, type), numbered in order; a type is a scalar's number or a message's name."""
        declared = file.message_type.add(name=name)
        for number, (field, (label, kind)) in enumerate(fields.items(), start=1):
            type_ = (
                {"type": kind} if isinstance(kind, int) else {"type": kinds.TYPE_MESSAGE, "type_name": f".darkroom.{kind}"}
            )
            declared.field.add(name=field, number=number, label=label, **type_)
        return declared

    one, many = kinds.LABEL_OPTIONAL, kinds.LABEL_REPEATED
    declare("BytesList", value=(many, kinds.TYPE_BYTES))
    declare("FloatList", value=(many, kinds.TYPE_FLOAT))
    declare("Int64List", value=(many, kinds.TYPE_INT64))
    feature = declare("Feature", bytes_list=(one, "BytesList"), float_list=(one, "FloatList"), int64_list=(one, "Int64List"))
    feature.oneof_decl.add(name="kind")
    for field in feature.field:
        field.oneof_index = 0
    entry = declare("Entry", key=(one, kinds.TYPE_STRING), value=(one, "Feature"))
    entry.oneof_decl.add(name="_key")  # an empty name is written, too
    entry.field[0].oneof_index, entry.field[0].proto3_optional = 0, True
    declare("Features", feature=(many, "Entry"))
    declare("Example", features=(one, "Features"))
    pool = DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("darkroom.Example"))


_Example = _declared()
