"""The part of Kustomize that the generated folders use, strict about what is missing."""

import copy

import yaml

_FIELDS = {"apiVersion", "kind", "namespace", "resources", "configMapGenerator", "patches"}


def build(folder):
    """Objects of a kustomization, in no particular order; names of ConfigMaps get no hash."""
    kustomization = yaml.safe_load((folder / "kustomization.yaml").read_text(encoding="utf-8"))
    assert kustomization.keys() <= _FIELDS
    assert kustomization["kind"] == "Kustomization"
    documents = []
    for resource in kustomization["resources"]:
        path = folder / resource
        documents += build(path) if path.is_dir() else [yaml.safe_load(path.read_text("utf-8"))]
    for generator in kustomization.get("configMapGenerator", []):
        data = {name: (folder / name).read_text("utf-8") for name in generator["files"]}
        merged = [d for d in documents if _key(d) == ("ConfigMap", generator["name"])]
        if generator.get("behavior", "create") == "merge":
            [target] = merged
            target["data"] |= data
        else:
            assert not merged
            metadata = {"name": generator["name"]}
            documents.append(
                {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}
            )
    for patch in kustomization.get("patches", []):
        target = patch["target"]
        # A target that the base lacks makes Kustomize change nothing, and say nothing.
        [patched] = [d for d in documents if _key(d) == (target["kind"], target["name"])]
        assert patched["apiVersion"] == f"{target['group']}/{target['version']}"
        for operation in yaml.safe_load((folder / patch["path"]).read_text("utf-8")):
            _apply(patched, operation)
    for document in documents:
        if "namespace" in kustomization:
            document["metadata"]["namespace"] = kustomization["namespace"]
    assert len({_key(document) for document in documents}) == len(documents)
    return documents


def _key(document):
    return document["kind"], document["metadata"]["name"]


def _apply(document, operation):
    """One operation of a JSON patch (RFC 6902)."""
    keys = [k.replace("~1", "/").replace("~0", "~") for k in operation["path"].split("/")[1:]]
    parent = document
    for key in keys[:-1]:
        parent = parent[int(key) if isinstance(parent, list) else key]
    last = keys[-1]
    if operation["op"] == "test":
        assert parent[last] == operation["value"]
    elif operation["op"] == "replace":
        assert last in parent
        parent[last] = operation["value"]
    else:
        assert operation["op"] == "add"
        value = copy.deepcopy(operation["value"])
        if isinstance(parent, list):
            assert last == "-"
            parent.append(value)
        else:
            parent[last] = value
