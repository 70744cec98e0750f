#!/usr/bin/env bash
# Which latent space? Six small autoencoders under equal budgets, two domains times three geometries, screened beside
# TAEF2 and the lossless ones; docs/which-latent.md tells what came out. Run it again to go on after a kill.
#   studies/which-latent.sh DATA OUT WEIGHTS
# DATA holds natural, brain-mri and chest-xray, each with train and valid (the document names the sources); WEIGHTS
# holds taef2_encoder.pth and taef2_decoder.pth. The six trainings took 110 minutes on two cores with other work beside
# them, two at a time (start a fit-vae of each domain yourself, this script then takes them as done), the screening 7.
set -euo pipefail
data=${1:?folder with natural, brain-mri and chest-xray}
out=${2:?output folder}
weights=${3:?folder with taef2_encoder.pth and taef2_decoder.pth}
latentsr=${LATENTSR:-latentsr}

"$latentsr" prepare folder "$data/natural" -o "$out/natural" --split folders --size 320 --resize crop --grey
# No patient ids for the brain slices: 20 neighbouring numbers of a series count as one patient.
"$latentsr" prepare folder "$data/brain-mri" -o "$out/brain-mri" --split folders --block 20 --drop-shared
"$latentsr" prepare folder "$data/chest-xray" -o "$out/chest-xray" --split folders \
    --patient-pattern 'p(?P<patient>\d+)_' --drop-shared

fit() { # NAME FACTOR CHANNELS: one geometry in both domains, the same number of crops of the same size
    "$latentsr" fit-vae "$out/natural" -o "$out/natural-$1" --domain natural \
        --factor "$2" --latent-channels "$3" --steps 2500
    "$latentsr" fit-vae "$out/brain-mri" "$out/chest-xray" -o "$out/medical-$1" --domain medical \
        --factor "$2" --latent-channels "$3" --steps 2500
}
fit 3x64x64 4 3
fit 4x32x32 8 4
fit 1x64x64 4 1

"$latentsr" screen "$out/brain-mri" "$out/chest-xray" -o "$out/screening" \
    --vae "$out/natural-3x64x64" --vae "$out/medical-3x64x64" --vae "$out/natural-4x32x32" \
    --vae "$out/medical-4x32x32" --vae "$out/natural-1x64x64" --vae "$out/medical-1x64x64" \
    --vae taef2 --weights "taef2=$weights" --vae haar --vae identity
