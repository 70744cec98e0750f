#!/usr/bin/env bash
# The shipped model, from images to model folder, by the project's own commands. Run it again to go on after a kill.
#   studies/latentsr-tiny.sh DATA OUT
# DATA holds brain-mri/{train,valid} and chest-xray/{train,valid} (8-bit grey PNG, 256x256; the model card names the
# sources); OUT receives datasets, cache, model and evaluation. The training took 79 minutes on two shared cores.
set -euo pipefail
data=${1:?folder with brain-mri and chest-xray}
out=${2:?output folder}
latentsr=${LATENTSR:-latentsr}

# No patient ids for the brain slices: 20 neighbouring numbers of a series count as one patient.
"$latentsr" prepare folder "$data/brain-mri" -o "$out/brain-mri" --split folders --block 20 --drop-shared
"$latentsr" prepare folder "$data/chest-xray" -o "$out/chest-xray" --split folders \
    --patient-pattern 'p(?P<patient>\d+)_' --drop-shared
"$latentsr" encode "$out/brain-mri" "$out/chest-xray" --vae haar -o "$out/cache"
"$latentsr" train "$out/cache" -o "$out/latentsr-tiny" --steps 4000 --validate-every 100 \
    --modality MR --modality CR --modality DX
[ -f "$out/evaluation/run.json" ] || "$latentsr" evaluate "$out/brain-mri" "$out/chest-xray" -o "$out/evaluation" \
    --method "posterior=$out/latentsr-tiny" --method "sample=$out/latentsr-tiny?steps=16"
