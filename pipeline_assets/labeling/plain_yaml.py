"""YAML as people write it by hand: plain values, whose size is that of their text."""

from collections import Counter
from typing import Any

import yaml


class _Loader(yaml.SafeLoader):
    """No aliases, which can name one value a billion times, and no name twice in one mapping."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("aliases (*name) are not read")
        return super().compose_node(parent, index)

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        pairs = node.value if isinstance(node, yaml.MappingNode) else []
        names = Counter(str(key.value) for key, _ in pairs)
        if repeated := next((name for name, count in names.items() if count > 1), None):
            raise yaml.YAMLError(f"{repeated!r:.80} is given twice")
        return super().construct_mapping(node, deep)


def parse(text: str) -> Any:
    """The one document of a text. Raises YAMLError."""
    loader = _Loader(text)
    try:
        return loader.get_single_data()
    except yaml.YAMLError:
        raise
    except Exception as error:  # Constructors raise whatever a bad date or number, or a deep text, makes Python raise.
        raise yaml.YAMLError(f"{type(error).__name__}: {error}") from error
    finally:
        loader.dispose()
