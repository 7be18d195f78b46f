# CI Jobs Metrics: say how this job ended (never fails the job)
(
  umask 022 # the exporter may run as another user
  LC_ALL=C  # a character is a byte, in every shell

  file=${CI_METRICS_FILE:-${CI_BUILDS_DIR:-/builds}/.metrics/metrics.json}
  case $file in */*) ;; *) file=./$file ;; esac
  dir=${file%/*}
  new=$file.${CI_JOB_ID:-$$}.new
  command -v mv >/dev/null 2>&1 || new=$file

  fail() {
    echo "$new can't be written" >&2
    rm -f "$new"
    exit 1
  }
  put() { printf "$@" || fail; }

  # field NAME VALUE [BYTES]: what is empty or too long is left to the exporter.
  field() {
    [ -n "$2" ] && [ "${#2}" -le "${3:-255}" ] || return 0
    put '%s"%s":"' "$before" "$1"
    before=,
    rest=$2
    while :; do
      plain=${rest%%[[:cntrl:]\"\\]*}
      put %s "$plain"
      rest=${rest#"$plain"}
      case $rest in
      '') break ;;
      \"*) put '\\"' ;;
      \\*) put '\\\\' ;;
      *) put '\\u%04x' "'$rest" ;;
      esac
      rest=${rest#?}
    done
    put '"'
  }

  [ -d "$dir/" ] || mkdir -p "$dir/" || exit 1
  if [ -d "$file" ]; then
    echo "$file is a directory" >&2
    exit 1
  fi
  {
    before='{'
    field name "${CI_METRICS_NAME:-${CI_JOB_NAME-}}" 2000
    field project "${CI_PROJECT_PATH-}" 2000
    field status "${CI_JOB_STATUS:-unknown}"
    field started "${CI_JOB_STARTED_AT-}"
    field job_id "${CI_JOB_ID-}"
    field job "${CI_JOB_NAME-}"
    field version "${CI_METRICS_VERSION-}"
    field url "${CI_JOB_URL-}" 1000
    field stage "${CI_JOB_STAGE-}"
    field ref "${CI_COMMIT_REF_NAME-}"
    field sha "${CI_COMMIT_SHA-}"
    field pipeline "${CI_PIPELINE_ID-}"
    field source "${CI_PIPELINE_SOURCE-}"
    field runner "${CI_RUNNER_DESCRIPTION-}"
    put '}\n'
  } >|"$new" || fail
  [ "$new" = "$file" ] || mv -f "$new" "$file" || fail
) || echo "CI Jobs Metrics: could not write how this job ended, see above. The job is not affected." >&2 || :
