"""Where a model's price is from: the address and the day of a list of prices, as far as it tells them."""

from __future__ import annotations

import re
from typing import Final

from reviewopt import pricelist
from reviewopt.prospect import PriceSource

_OWN: Final = PriceSource(url=None, as_of=None, doubt="")
_DATED: Final = re.compile(r"\d{4}-\d\d-\d\d")


def find(name: str) -> PriceSource:
    """Find the source of a price by its name, which begins with PROVIDER:MODEL or PROVIDER:SKU, or is the user's."""
    reference = name.partition(", ")[0]
    listed = pricelist.read()
    if model := listed.models.get(reference):
        doubt = "somebody's word" if model.unverified else ""
        return PriceSource(url=model.source, as_of=model.as_of, doubt=doubt)
    for service in listed.services:
        if service.key == reference:
            return PriceSource(url=service.source, as_of=service.as_of, doubt=", ".join(service.unverified))
    return _of_genai_prices(*reference.partition(":")[::2])


def _of_genai_prices(provider_id: str, model_id: str) -> PriceSource:
    """Take the address of the vendor's prices, and what genai-prices itself says of the day on which it read them.

    It gives no day of a price. Its comments have days, mostly of other tiers, so they are quoted, not believed.
    """
    from genai_prices import __version__, data_snapshot

    provider = next((one for one in data_snapshot.get_snapshot().providers if one.id == provider_id), None)
    model = None if provider is None else next((one for one in provider.models if one.id == model_id), None)
    if provider is None or model is None:
        return _OWN
    doubt = f"genai-prices {__version__} tells no date of it"
    if said := _dated(model.price_comments or provider.price_comments or ""):
        doubt += f'; its comment: "{said}"'
    return PriceSource(url=next(iter(provider.pricing_urls or ()), None), as_of=None, doubt=doubt)


def _dated(comments: str) -> str:
    """Return the first sentence that has a day in it, without addresses; empty where none has."""
    sentences = re.split(r"(?<=[.!?])\s+", re.sub(r"\s*(?:at )?https?://[^\s,;)]+[^\s.,;)]", "", comments))
    return next((one for one in sentences if _DATED.search(one)), "")
