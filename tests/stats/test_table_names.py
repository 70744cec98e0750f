import hashlib

from latentsr.stats import short_hash


def test_the_first_digits_of_sha256() -> None:
    assert short_hash("brain", "p01/slice 3") == hashlib.sha256(b"brain/p01/slice 3").hexdigest()[:8]


def test_names_differ_between_images_and_datasets() -> None:
    names = {short_hash(dataset, str(number)) for dataset in ("brain", "chest") for number in range(1000)}
    assert len(names) == 2000
    assert all(len(name) == 8 and set(name) <= set("0123456789abcdef") for name in names)
