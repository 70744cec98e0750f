#!/usr/bin/env bash
# The shipped model, from images to model folder, by the project's own commands. Run it again to go on after a kill.
#   studies/latentsr-tiny.sh DATA OUT
# DATA holds brain-mri/{train,valid}, chest-xray/{train,valid} (8-bit grey PNG, 256x256) and natural/{train,valid}
# (photographs); the model card names the sources and how long it took. OUT receives datasets, caches, models, evaluation.
# LATENTSR and PYTHON name the command and the Python that it belongs to, where they are not on the path.
set -euo pipefail
data=${1:?folder with brain-mri, chest-xray and natural}
out=${2:?output folder}
latentsr=${LATENTSR:-latentsr}

# No patient ids for the brain slices: 20 neighbouring numbers of a series count as one patient.
prepare() { "$latentsr" prepare folder "$data/$1" -o "$out/$1" --split folders "${@:2}"; }
prepare brain-mri --block 20 --drop-shared --duplicates drop
prepare chest-xray --patient-pattern 'p(?P<patient>\d+)_' --drop-shared --duplicates drop
prepare natural --size 256 --resize none --grey
# Also all chests twice with markers drawn on them, of which a set has few: of the prepared training images, so that what
# was left out above stays out.
for seed in 1 2; do
    "${PYTHON:-python}" "$(dirname "$0")/markers.py" "$out/chest-xray" "$out/marked$seed/train" --count 752 --seed $seed
    "$latentsr" prepare folder "$out/marked$seed" -o "$out/chest-markers$seed" --split folders \
        --patient-pattern 'p(?P<patient>\d+)_'
done
for latent in haar cdf97; do
    "$latentsr" encode "$out"/{brain-mri,chest-xray,natural,chest-markers1,chest-markers2} --vae $latent -o "$out/$latent"
done

# Half of the crops have another LR. The noise level is a condition of both networks.
cat > "$out/both.yaml" <<'END'
degradations: ["lanczos:4", "area:4", "blur:0.7,bicubic:4", "blur:1.4,bicubic:4", "bicubic:4,noise:0.02", "blur:0.7,bicubic:4,noise:0.06"]
modality: [MR, CR, DX]
validate_every: 100
END
cp "$out/both.yaml" "$out/detail.yaml"
cat >> "$out/detail.yaml" <<'END'
detail: 0.3
band_gains: [0.5, 0.6, 1.2, 0.9]
END
# The posterior mean: a regression network. Then what draws its error in one evaluation. Both see whole images, so that they
# know borders. The shipped networks were trained in parts, the first of them on smaller crops, the mean with other markers, and
# the last part of the sample with frequencies of weight 0.6: see the card.
"$latentsr" train "$out/haar" -o "$out/latentsr-tiny-mean" --config "$out/both.yaml" --steps 7000 \
    --family regression --loss l2 --channels 64 --crop 64 --batch 4
"$latentsr" train "$out/cdf97" -o "$out/latentsr-tiny" --config "$out/detail.yaml" --steps 12000 \
    --base "$out/latentsr-tiny-mean" --family generator --channels 64 --crop 64 --batch 3
[ -f "$out/evaluation/run.json" ] || "$latentsr" evaluate "$out/brain-mri" "$out/chest-xray" -o "$out/evaluation" \
    --method "mean=$out/latentsr-tiny" --method "sample=$out/latentsr-tiny?realism=1" --mean mean
