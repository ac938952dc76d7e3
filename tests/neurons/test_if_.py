"""IF: h[t] = v[t-1] + x[t]."""

from tests.neurons.building import if_, sequence, spikes_of


def test_it_adds_its_input_and_returns_to_the_reset_value():
    x = sequence(0.5, 0.5, 0.25, 1.0, 0.75)
    # h: 0.5, 1.0 (a spike: at the threshold is enough), 0.25, 1.25 (a spike), 0.75
    out = if_()(x)
    assert spikes_of(out) == [0, 1, 0, 1, 0]
    assert out.v.item() == 0.75
    assert out.count.item() == 2


def test_a_soft_reset_keeps_what_is_above_the_threshold():
    # h: 0.5, 1.75 (a spike, 0.75 left), 1.0 (a spike, 0 left), 0.25
    out = if_(reset="soft")(sequence(0.5, 1.25, 0.25, 0.25))
    assert spikes_of(out) == [0, 1, 1, 0]
    assert out.v.item() == 0.25


def test_it_starts_at_and_returns_to_another_reset_value():
    # h: -0.5 + 1 = 0.5, 1.5 (a spike), -0.5 + 0.25
    out = if_(v_reset=-0.5)(sequence(1.0, 1.0, 0.25))
    assert spikes_of(out) == [0, 1, 0]
    assert out.v.item() == -0.25
