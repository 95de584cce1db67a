import pytest
import torch
import torch.nn.functional as F

from mien.training.sampling import class_prior, epoch_order, face_weights

UNEVEN = F.one_hot(torch.tensor([0] * 90 + [1] * 9 + [2]), 3).float()


def class_frequencies(balance):
    counts = sum(
        torch.bincount(UNEVEN.argmax(1)[epoch_order(UNEVEN, balance, seed)], minlength=3) for seed in range(200)
    )
    return counts / counts.sum()


def test_without_balance_every_face_is_used_once():
    order = epoch_order(UNEVEN, 0.0, 3)
    assert order.sort().values.tolist() == list(range(100))
    assert order.tolist() != list(range(100))


def test_full_balance_equalizes_class_frequencies():
    torch.testing.assert_close(class_frequencies(1.0), torch.full((3,), 1 / 3), atol=0.02, rtol=0)


def test_half_balance_gives_square_root_frequencies():
    expected = torch.tensor([90.0, 9.0, 1.0]).sqrt()
    torch.testing.assert_close(class_frequencies(0.5), expected / expected.sum(), atol=0.02, rtol=0)


@pytest.mark.parametrize("balance", [0.0, 0.5, 1.0])
def test_class_prior_is_the_frequency_in_epochs(balance):
    torch.testing.assert_close(class_prior(UNEVEN, balance), class_frequencies(balance), atol=0.02, rtol=0)


def test_epoch_order_is_a_function_of_the_seed():
    for balance in (0.0, 0.7):
        assert torch.equal(epoch_order(UNEVEN, balance, 1), epoch_order(UNEVEN, balance, 1))
        assert not torch.equal(epoch_order(UNEVEN, balance, 1), epoch_order(UNEVEN, balance, 2))


def test_class_without_faces_has_no_weight():
    distribution = F.one_hot(torch.tensor([0, 2, 2]), 4).float()
    torch.testing.assert_close(face_weights(distribution, 1.0), torch.tensor([1.0, 0.5, 0.5]).double())
