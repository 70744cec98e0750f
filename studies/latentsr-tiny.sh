#!/usr/bin/env bash
# The shipped model, from images to model folder, by the project's own commands. Run it again to go on after a kill.
#   studies/latentsr-tiny.sh DATA OUT
# DATA holds brain-mri/{train,valid}, chest-xray/{train,valid} (8-bit grey PNG, 256x256) and natural/{train,valid}
# (photographs); the model card names the sources and how long it took. OUT receives datasets, caches, models, evaluation.
set -euo pipefail
data=${1:?folder with brain-mri, chest-xray and natural}
out=${2:?output folder}
latentsr=${LATENTSR:-latentsr}
mkdir -p "$out"

# No patient ids for the brain slices: 20 neighbouring numbers of a series count as one patient. A part of the patients
# watches the training.
patients=(--patient-pattern 'p(?P<patient>\d+)_')
prepare() { "$latentsr" prepare folder "$data/$1" -o "$out/$2" --name "${1%/*}" --duplicates drop "${@:3}"; }
prepare brain-mri/train brain-mri-train --split 0.92,0.08,0 --block 20
prepare chest-xray/train chest-xray-train --split 0.92,0.08,0 "${patients[@]}"
prepare natural/train natural-train --split 1,0,0 --size 256 --resize none --grey
for latent in haar cdf97; do
    "$latentsr" encode "$out"/{brain-mri,chest-xray,natural}-train --vae "$latent" -o "$out/$latent"
done

# The posterior mean: a regression network. Then what draws its error in one evaluation.
cat > "$out/mean.yaml" <<'END'
family: regression
loss: l2
channels: [64]
layers: 16
degradations: ["lanczos:4", "area:4", "blur:0.7,bicubic:4", "blur:1.4,bicubic:4", "bicubic:4,noise:0.02", "blur:0.7,bicubic:4,noise:0.06"]
modality: [MR, CR, DX]
validate_every: 100
END
"$latentsr" train "$out/haar" -o "$out/mean" --config "$out/mean.yaml" --steps 4200
