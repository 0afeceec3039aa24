# What the scripts of this folder share; they set `names` and call: run_all "$@"
#
#   [--short] [flags for every run]
#
# Runs flags/NAME.txt for every name and prints the table of all of them. --short is for trying: it adds those files of
# flags/short that are called as a word of NAME, then as its first word and another one, then as all of it. Flags come last
# and win.
# A run lives in runs/full/NAME or runs/short/NAME, beside it where flags were given: runs/full,seed=1/NAME. A run that was
# stopped goes on, one that is finished is used as it is; the first failure, or Ctrl-C, ends the script with its exit code.

run_all() {
  local length=full
  if [[ ${1-} == --short ]]; then
    length=short
    shift
  fi
  check_flags "$@"
  local parent name runs=()
  parent="runs/$length$(said "$@")"
  for name in "${names[@]}"; do
    runs+=("$parent/$name")
    run_one "$length" "$name" "$parent/$name" "$@"
  done
  printf '\npython -m cactus_tf.table %s\n\n' "${runs[*]}"
  python -m cactus_tf.table "${runs[@]}"
}

run_one() { # length, name, folder, flags: one run, unless it is finished and its flagfile has not changed since
  local length=$1 name=$2 folder=$3 words=${2//_/ } files=("flags/$2.txt") short flagfile unfinished=""
  shift 3
  if [[ $length == short ]]; then
    for short in $words $(printf "${name%%_*}_%s " $words) "$name"; do
      if [[ -e flags/short/$short.txt ]]; then files+=("flags/short/$short.txt"); fi
    done
  fi
  if [[ ! $folder/report.html -nt $folder/results.json ]]; then unfinished=yes; fi # the report is written last
  for flagfile in "${files[@]}"; do
    if [[ ! $folder/results.json -nt $flagfile ]]; then unfinished=yes; fi
  done
  if [[ $unfinished ]]; then
    printf '\n== %s\n' "$name"
    python -m cactus_tf.main "${files[@]/#/--flagfile=}" "$@" --workdir="$folder"
  else
    printf '\n== %s: finished before, in %s\n' "$name" "$folder"
  fi
}

check_flags() {
  local flag
  for flag in "$@"; do
    case $flag in
      --short) echo "--short is not the first argument: put it there" >&2 && exit 2 ;;
      --workdir*) echo "--workdir: every run has a folder of its own in runs/; leave it out" >&2 && exit 2 ;;
      --*) ;;
      *) echo "'$flag' is no flag: every setting is written --NAME=VALUE" >&2 && exit 2 ;;
    esac
  done
}

said() { # ,NAME=VALUE of the flags that can change a result
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
