"""Shapes in signatures are checked whenever a test calls a function of im21k."""

import numpy as np
import pytest
from jaxtyping import TypeCheckError

from im21k.answers import calibration
from im21k.photos import crops


def test_an_array_of_another_shape_or_type_is_an_error():
  assert calibration.softmax(np.zeros((2, 3), np.float32)).shape == (2, 3)
  with pytest.raises(TypeCheckError, match="logits"):
    calibration.softmax(np.zeros(3, np.float32))
  with pytest.raises(TypeCheckError, match="image"):
    crops.center_crop(np.zeros((4, 4, 3), np.float32), 2, 2)
