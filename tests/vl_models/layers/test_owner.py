import keras

from vl_models.layers.owner import LayerOwner


def dense(name):
    return keras.layers.Dense(1, name=name)


class Chosen:
    """Names its layers itself, and hides one."""

    def __init__(self):
        self.hidden = dense("unnamed")
        self.layers = (dense("named"),)


class Owner(LayerOwner):
    def __init__(self):
        self.number = 3
        self.first = dense("first")
        self.several = [dense("listed"), (dense("nested"),)]
        self.by_side = {"image": dense("image"), "text": dense("text")}
        self.again = self.first
        self.part = Chosen()


def test_layers_are_found_in_attributes_in_order_and_once():
    names = [layer.name for layer in Owner().layers]
    assert names == ["first", "listed", "nested", "image", "text", "named"]


def test_an_owner_holds_what_its_parts_own():
    outer = LayerOwner()
    outer.inner = Owner()
    outer.last = dense("last")
    assert [layer.name for layer in outer.layers][-2:] == ["named", "last"]
