"""The part of Kustomize that the generated folders use, strict about what is missing."""

import copy
import re

import yaml

_FIELDS = {
    "apiVersion",
    "kind",
    "namespace",
    "resources",
    "components",
    "labels",
    "configMapGenerator",
    "patches",
}


def build(folder):
    """Objects of a kustomization, in no particular order; names of ConfigMaps get no hash."""
    return _apply(folder, "Kustomization", [])


def _apply(folder, kind, documents):
    kustomization = yaml.safe_load((folder / "kustomization.yaml").read_text(encoding="utf-8"))
    assert kustomization.keys() <= _FIELDS
    assert kustomization["kind"] == kind
    documents = list(documents)
    for resource in kustomization.get("resources", []):
        path = folder / resource
        documents += build(path) if path.is_dir() else [yaml.safe_load(path.read_text("utf-8"))]
    for component in kustomization.get("components", []):
        documents = _apply(folder / component, "Component", documents)
    for generator in kustomization.get("configMapGenerator", []):
        options = generator.get("options", {})
        assert options.keys() <= {"disableNameSuffixHash", "immutable"}
        data = {name: (folder / name).read_text("utf-8") for name in generator["files"]}
        document = {"apiVersion": "v1", "kind": "ConfigMap", "data": data}
        document["metadata"] = {"name": generator["name"]}
        if options.get("immutable"):
            document["immutable"] = True
        documents.append(document)
    for patch in kustomization.get("patches", []):
        assert patch["target"].keys() <= {"kind", "name"}
        # A target that the base lacks makes Kustomize change nothing, and say nothing.
        patched = [document for document in documents if _matches(patch["target"], document)]
        assert patched
        for document in patched:
            for operation in yaml.safe_load(patch["patch"]):
                _change(document, operation)
    for document in documents:
        if "namespace" in kustomization:
            document["metadata"]["namespace"] = kustomization["namespace"]
        for labels in kustomization.get("labels", []):
            document["metadata"].setdefault("labels", {}).update(labels["pairs"])
            if labels.get("includeSelectors"):
                _label(document, labels["pairs"])
    keys = {(document["kind"], document["metadata"]["name"]) for document in documents}
    assert len(keys) == len(documents)
    return documents


def _matches(target, document):
    name = document["metadata"]["name"]
    return target.get("kind", document["kind"]) == document["kind"] and bool(
        re.fullmatch(target.get("name", ".*"), name)
    )


def _label(node, pairs):
    """Adds pairs to the labels of a template, and wherever labels are selected by."""
    for key, value in node.items() if isinstance(node, dict) else enumerate(node):
        if key in ("labels", "matchLabels") or (key == "selector" and "matchLabels" not in value):
            value.update(pairs)
        elif isinstance(value, dict | list):
            _label(value, pairs)


def _change(document, operation):
    """One operation of a JSON patch (RFC 6902)."""
    keys = [k.replace("~1", "/").replace("~0", "~") for k in operation["path"].split("/")[1:]]
    parent = document
    for key in keys[:-1]:
        parent = parent[int(key) if isinstance(parent, list) else key]
    last = int(keys[-1]) if isinstance(parent, list) and keys[-1] != "-" else keys[-1]
    value = copy.deepcopy(operation["value"])
    if operation["op"] == "replace":
        assert isinstance(parent, list) or last in parent
        parent[last] = value
    else:
        assert operation["op"] == "add"
        if isinstance(parent, list):
            assert last == "-"
            parent.append(value)
        else:
            parent[last] = value
