#!/usr/bin/env bash
# Runs commands in turn until one fails, and prints at the end how many seconds each
# took: scripts/steps.sh [--keep-going] 'NAME: COMMAND'...
# --keep-going runs the others too after one has failed.
# A command may run this script again. Its steps are printed with the outer ones, as
# soon as they end, so that steps that run side by side are all named.
set -euo pipefail

outer=${STEPS_TIMES:-}
export STEPS_TIMES=${outer:-$(mktemp)}
report() {
	if [[ -z $outer ]]; then
		printf '\n== time taken\n%s\n%5ds  in all\n' "$(<"$STEPS_TIMES")" $SECONDS
		rm -f "$STEPS_TIMES"
	fi
}
trap report EXIT

failed=0 keep_going=
if [[ ${1:-} == --keep-going ]]; then
	keep_going=yes
	shift
fi
for step; do
	name=${step%%: *} command=${step#*: }
	printf '\n== %s: %s\n' "$name" "$command"
	began=$SECONDS status=0
	bash -euo pipefail -c "$command" || status=$?
	printf '%5ds  %s\n' $((SECONDS - began)) "$name" >>"$STEPS_TIMES"
	if ((status != 0)); then
		printf '\n== %s failed\n' "$name"
		failed=$status
		[[ $keep_going ]] || break
	fi
done
exit "$failed"
