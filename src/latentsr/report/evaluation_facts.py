"""The facts at the end of an evaluation's report: what it was made with and of, by hash."""

from latentsr.report.evaluation_data import Evaluation
from latentsr.report.facts import data_facts, run_facts


def evaluation_facts(evaluation: Evaluation) -> dict[str, str]:
    """Versions, options and hashes, of weights and files too; no path and no id."""
    run = evaluation.run
    facts = run_facts(run)
    facts |= {"degradation": run["degradation"], "seed": str(run["seed"]), "device": run["device"]}
    facts |= data_facts(run)
    facts |= {
        f"masks of {name}": f"from the {masks['from']}, SHA-256 {masks['hash']}" for name, masks in run["masks"].items()
    }
    sources = [one for method in run["methods"] for one in method.get("seeds", [method])]
    facts |= {f"method {one['name']}": _origin(evaluation, one) for one in sources}
    for key, title in (("reference_autoencoder", "reference autoencoder"), ("latent", "latent autoencoder")):
        if run[key]:
            facts[title] = f"{run[key]['name']}, hash {run[key]['hash']}"
    for name, digest in run["weights"].items():
        whose = f"feature extractor {run['features']}" if name == "features" else evaluation.measures[name]["title"]
        facts[f"weights of {whose}"] = f"SHA-256 {digest}"
    return facts


def _origin(evaluation: Evaluation, method: dict[str, object]) -> str:
    if method["kind"] == "model":
        options = dict(method["options"])  # type: ignore[call-overload]
        told = ", ".join(f"{key} {value}" for key, value in options.items() if value is not None)
        return f"model {method['model']}, hash {method['hash']}, {told}"
    if method["kind"] == "images":
        hashes = [files[str(method["name"])] for files in evaluation.run["files"].values() if method["name"] in files]
        return f"images, SHA-256 of their contents {', '.join(hashes)}"
    return "baseline, from this package"
