"""The name that an image bears on pages and in logs: a hash, so that no patient's id or file name appears there."""

import hashlib

DIGITS = 8


def short_hash(dataset: str, id: str) -> str:
    """Eight hexadecimal digits that name image `id` of `dataset`: the first of SHA-256 of "dataset/id".

    Whoever holds the tidy table can find the image by hashing its ids; nobody reads the id out of the hash. It is
    a pseudonym, not encryption: short ids, such as running numbers, can be guessed and tried.
    """
    return hashlib.sha256(f"{dataset}/{id}".encode()).hexdigest()[:DIGITS]
