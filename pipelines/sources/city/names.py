"""Invent names of landmarks that fit the kind of building."""

from __future__ import annotations

from collections.abc import Sequence

from .materials import Rng

FIRST = (
    "Harlow", "Ashgrove", "Belmont", "Calder", "Dunmore", "Elmfield", "Fenwick", "Garrick",
    "Hazelmere", "Ingleby", "Juniper", "Kestrel", "Larkspur", "Marlowe", "Northgate", "Orchard",
    "Pemberton", "Quayside", "Rosewood", "Silverdale", "Thornbury", "Underhill", "Vesper",
    "Westbrook", "Yarrow", "Aldwych", "Bramble", "Cobalt", "Driftwood", "Everwood", "Foxglove",
    "Goldcrest", "Heron", "Ivory", "Jasper", "Kingfisher", "Linden", "Meridian", "Nightingale",
    "Oakhaven", "Primrose", "Ravenscroft", "Saffron", "Tamarind", "Umber", "Valerian", "Willow",
    "Amberley", "Birchwood", "Copperfield", "Dovecote", "Eastmoor", "Falconer", "Greenwich",
    "Hollybank", "Ironbridge",
)  # fmt: skip

KINDS: dict[str, tuple[str, ...]] = {
    "clock_tower": ("Clock Tower", "Belfry", "Bell Tower"),
    "cathedral": ("Cathedral", "Minster", "Abbey"),
    "basilica": ("Basilica", "Rotunda", "Dome"),
    "arch": ("Arch", "Triumphal Gate", "Memorial Gate"),
    "temple": ("Temple", "Athenaeum", "Exchange"),
    "onion_church": ("Chapel", "Church", "Monastery"),
    "town_hall": ("Town Hall", "Guildhall", "Council House"),
    "castle": ("Castle", "Keep", "Fortress"),
    "palace": ("Palace", "Court", "Residence"),
    "theatre": ("Theatre", "Picture House", "Playhouse"),
    "monument": ("Monument", "Column", "Memorial"),
    "lighthouse": ("Lighthouse", "Light", "Beacon"),
    "pagoda": ("Pagoda", "Tower of Winds", "Tea Pavilion"),
    "skyscraper": ("Tower", "Spire House", "Exchange Tower"),
    "windmill": ("Mill", "Windmill", "Old Mill"),
    "museum": ("Museum", "Gallery", "Arts Centre"),
    "minarets": ("Mosque", "Great Mosque", "Domed Hall"),
    "station": ("Station", "Terminus", "Central Station"),
    "houses": ("Row", "Merchant Houses", "Quay Houses"),
    "water_tower": ("Water Tower", "Waterworks", "Round Tower"),
    "aqueduct": ("Aqueduct", "Arches", "Viaduct"),
    "manor": ("Manor", "Hall", "Lodge"),
}

SIGNS = (
    "HOTEL",
    "CAFE",
    "BAKERY",
    "BOOKS",
    "OPERA",
    "MARKET",
    "PHARMACY",
    "GRAND",
    "BANK",
    "MUSIC",
    "TAILOR",
    "ROYAL",
)


def invent_names(rng: Rng, kinds: Sequence[str]) -> list[str]:
    """Invent a different name for each building.

    Args:
        rng: is used up.
        kinds: kind of each building, a key of KINDS.

    Returns:
        As many names, for example "Harlow Clock Tower".
    """
    names: list[str] = []
    taken: set[str] = set()
    order = rng.permutation(len(FIRST))
    for k, kind in enumerate(kinds):
        nouns = KINDS[kind]
        for attempt in range(len(FIRST) * len(nouns) * 3):
            first = FIRST[int(order[(k + attempt) % len(FIRST)])]
            prefix = ("", "", "Old ", "New ", "Upper ", "Lower ")[attempt // len(FIRST) % 6]
            name = f"{prefix}{first} {nouns[int(rng.integers(0, len(nouns)))]}"
            if name not in taken:
                break
        taken.add(name)
        names.append(name)
    return names
