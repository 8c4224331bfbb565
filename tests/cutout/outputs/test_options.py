import pytest

from cutout.enums import Forms, ReturnForm
from cutout.outputs.options import OutputOptions, RequestedOutputs

ALL = [
    RequestedOutputs(forms, full_size)
    for forms in (None, Forms.DERIVED, Forms.BOUGHT)
    for full_size in (None, True, False)
]


class TestOptions:
    def test_name_the_form_that_a_call_asks_for(self) -> None:
        """RGBA for every form that is derived, else the form itself."""
        assert {OutputOptions().bought_form(form) for form in ReturnForm} == {ReturnForm.RGBA}
        bought = OutputOptions(Forms.BOUGHT)
        assert [bought.bought_form(form) for form in ReturnForm] == list(ReturnForm)

    @pytest.mark.parametrize("asked", ALL)
    def test_come_back_from_an_ingest(self, asked: RequestedOutputs) -> None:
        """Stored and restored they are equal; the defaults are not stored."""
        options = asked.complete(OutputOptions())
        assert OutputOptions.of_options(options.as_options()) == options
        assert (options == OutputOptions()) == (options.as_options() == {})


class TestRequestedOptions:
    def test_are_completed_with_the_defaults(self) -> None:
        """Each that was not given is the default's, and each that was given is kept."""
        defaults = OutputOptions(Forms.BOUGHT, full_size=False)
        assert RequestedOutputs().complete(defaults) == defaults
        assert RequestedOutputs(Forms.DERIVED).complete(defaults) == OutputOptions(full_size=False)
        assert RequestedOutputs(None, full_size=True).complete(defaults) == OutputOptions(Forms.BOUGHT)

    @pytest.mark.parametrize("asked", ALL)
    def test_come_back_from_a_schedule(self, asked: RequestedOutputs) -> None:
        """Those that were not given are not stored."""
        stored = asked.as_options()
        assert RequestedOutputs.of_options(stored) == asked
        assert None not in stored.values()
