"""Changes of a database load no network again: a server's memory stays as it is."""

import pytest

from pipelines.answers import engines, stored_model
from pipelines.recognizer import Recognizer
from tests.conftest import Tiny
from tests.datasets import view
from tests.servers import BEARER, serving
from tests.test_pipelines_serve_api import encode


def count_loads() -> int:
    """Return how many networks and graphs were loaded in this process."""
    caches = engines._open_graph, stored_model._load_model, stored_model._load_head
    return sum(cache.cache_info().misses for cache in caches)


@pytest.mark.parametrize("engine", ["", "torch"])
def test_photos_are_added_with_the_networks_that_answer(engine: str, tiny: Tiny) -> None:
    recognizer = Recognizer.load(tiny.run, engine=engine)
    # Photos of the database are described by the engine of the recipe, whatever answers.
    loads = [] if engine else [count_loads()]
    with serving(recognizer) as served:
        for number in range(3):
            files = {"photo": ("a.jpg", encode(view(70 + number, 0)), "image/jpeg")}
            form = {"name": f"New {number}"}
            response = served.client.post("/v1/landmarks", files=files, data=form, headers=BEARER)
            assert response.status_code == 200, response.text
            label = response.json()["added"][0]["label"]
            asked = served.client.post("/v1/recognize", files=files)
            assert asked.status_code == 200
            gone = served.client.delete(f"/v1/landmarks/{label}", headers=BEARER)
            assert gone.status_code == 200
            loads.append(count_loads())
    assert len(set(loads)) == 1
