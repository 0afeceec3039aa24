# Functions shared by the scripts of this folder. A script sets `names` and calls: run_all "$@"
#
#   [--short] [flags for every run]
#
# Runs flags/NAME.txt for every name and prints the table of all runs. --short is for a first look: it adds the files of
# flags/short that are named after a word of NAME, then after its first word and another one, then after all of it. The
# flags of the command line come last, so they win.
#
# A run is stored in runs/full/NAME or runs/short/NAME; with flags in runs/full,FLAG=VALUE/NAME, such as
# runs/full,seed=1/NAME. A stopped run resumes and a finished one is reused. The first failure, or Ctrl-C, ends the script
# with the exit code of the run.

run_all() {
  local length=full
  if [[ ${1-} == --short ]]; then
    length=short
    shift
  fi
  check_flags "$@"
  local parent name runs=()
  parent="runs/$length$(flags_suffix "$@")"
  for name in "${names[@]}"; do
    runs+=("$parent/$name")
    run_one "$length" "$name" "$parent/$name" "$@"
  done
  printf '\npython -m cactus_tf.table %s\n\n' "${runs[*]}"
  python -m cactus_tf.table "${runs[@]}"
}

run_one() { # length, name, folder, flags: makes one run, unless it is finished and newer than its flagfiles
  local length=$1 name=$2 folder=$3 words=${2//_/ } files=("flags/$2.txt") short flagfile unfinished=""
  shift 3
  if [[ $length == short ]]; then
    for short in $words $(printf "${name%%_*}_%s " $words) "$name"; do
      if [[ -e flags/short/$short.txt ]]; then files+=("flags/short/$short.txt"); fi
    done
  fi
  if [[ ! $folder/report.html -nt $folder/results.json ]]; then unfinished=yes; fi # a run writes its report last
  for flagfile in "${files[@]}"; do
    if [[ ! $folder/results.json -nt $flagfile ]]; then unfinished=yes; fi
  done
  if [[ $unfinished ]]; then
    printf '\n== %s\n' "$name"
    python -m cactus_tf.main "${files[@]/#/--flagfile=}" "$@" --workdir="$folder"
  else
    printf '\n== %s: already finished, in %s\n' "$name" "$folder"
  fi
}

check_flags() {
  local flag
  for flag in "$@"; do
    case $flag in
      --short) echo "--short must be the first argument" >&2 && exit 2 ;;
      --workdir*) echo "--workdir cannot be set: every run has its own folder in runs/" >&2 && exit 2 ;;
      --*) ;;
      *) echo "unexpected argument '$flag'; flags look like --name=value" >&2 && exit 2 ;;
    esac
  done
}

flags_suffix() { # ,NAME=VALUE for each flag that can change a result
  local flag
  for flag in "$@"; do
    case $flag in
      --artifacts_dir=* | --dataset=* | --quiet* | --debug*) continue ;;
      --data_dir=* | --eval_dir=*) if [[ ${names[0]} != folder_* ]]; then continue; fi ;;
    esac
    flag=${flag#--}
    printf ',%s' "${flag//\//_}"
  done
}
