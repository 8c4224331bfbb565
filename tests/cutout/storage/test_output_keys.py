"""Keys of outputs: no two jobs of a batch share one, whatever their outputs are named."""

import itertools
import uuid

from cutout.enums import ReturnForm
from cutout.storage.object_keys import output_key

BATCH = uuid.uuid4()


def test_differ_between_all_forms_and_names_of_one_external_id() -> None:
    """A batch may have a job for each form of a picture, and a rendition named like another form."""
    names = [*ReturnForm, "amazon", "hero"]
    keys = [
        output_key(
            name,
            job_id=uuid.uuid4(),
            batch_id=BATCH,
            external_id="SKU",
            return_form=form,
            extension="png",
        )
        for form, name in itertools.product(ReturnForm, names)
    ]
    assert len(set(keys)) == len(keys)
