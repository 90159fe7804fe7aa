"""Tables that come in kinds, distinguished by their field `kind`: the list of kinds is open. Torch-free."""

from __future__ import annotations

from typing import Any, ClassVar, TypeVar, get_args

from pydantic import GetCoreSchemaHandler
from pydantic_core import core_schema

from evaluator.manifests.strict import Strict

K = TypeVar("K", bound="Kinded")


class Kinded(Strict):
    """Base of a table whose `kind` says which class reads the rest of it.

    A class without a kind of its own stands for all registered kinds below it: as the type of a field it accepts each of them.
    """

    registry: ClassVar[dict[str, type[Kinded]]]

    @classmethod
    def choices(cls) -> dict[str, Any]:
        """The registered classes that this one stands for, by kind; empty for a class with a kind of its own."""
        if "kind" in cls.model_fields or not hasattr(cls, "registry"):
            return {}
        return {kind: known for kind, known in cls.registry.items() if issubclass(known, cls)}

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:
        known = cls.choices()
        if not known:
            return handler(source)
        schemas = {kind: handler.generate_schema(each) for kind, each in known.items()}
        return core_schema.tagged_union_schema(schemas, discriminator="kind")


def register(cls: type[K]) -> type[K]:
    """Class decorator that puts a table with a kind of its own, `kind: Literal["..."]`, on the list."""
    (kind,) = get_args(cls.model_fields["kind"].annotation)
    if kind in cls.registry:
        raise ValueError(f"two tables are of kind {kind!r}")
    cls.registry[kind] = cls
    for base in cls.__mro__:
        if issubclass(base, Kinded) and base.choices():
            base.model_rebuild(force=True)
    return cls
