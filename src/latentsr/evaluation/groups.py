"""The groups of an evaluation's images by one of the datasets' own columns, such as scanner, sex or view."""

from collections.abc import Mapping, Sequence

from latentsr.data.records import Dataset, Record
from latentsr.errors import OptionError

MOST = 20  # groups of a dataset: more values are no groups, such as ages or names


def check_column(by: str | None, datasets: Sequence[Dataset], split: str) -> None:
    """OptionError unless some dataset has the column, and none more values of it than `MOST`."""
    if by is None:
        return
    there = dict.fromkeys(name for dataset in datasets for name in dataset.attributes)
    if by not in there:
        columns = f"there are {', '.join(there)}" if there else "there are none: prepare again with the option columns"
        raise OptionError(f"the option by is {by}: no such column in the datasets; {columns}")
    for dataset in datasets:
        if len(values := set(image_groups(dataset.select(split), by).values())) > MOST:
            raise OptionError(
                f"the option by is {by}: {len(values)} values in dataset '{dataset.name}'; expected groups, at most "
                f"{MOST}: put ranges into the column"
            )


def image_groups(records: Sequence[Record], by: str) -> Mapping[str, str]:
    """The group of each image by id; images without a value are not among them."""
    return {record.id: value for record in records if (value := record.attributes.get(by, ""))}
