# ruff: noqa: E501 - a table is easier to read in long lines
"""The environment of a script: variables, user, folders, the machine."""

from __future__ import annotations

from tests.contract.case import LAMBDA, Expected, matching, program, script

_UUID = r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
_LAMBDAS_USER = "AWS Lambda runs every image as this user"
_NO_USERS = "fakechroot runs everything as the runner's user"

VARIABLES = [
    script("Variables of the image", "echo $OF_THE_IMAGE", "by the image", in_batch=True),
    script("Variables in the FDL file override those of the image", "echo $GIVEN, $OVERRIDDEN", "by the FDL file, by the FDL file", in_batch=True),
    script("CONT_VAR_ variables, without the prefix", "echo $COLOR; env | grep CONT_VAR || true", "red", in_batch=True),
    script("EVENT contains the event", "echo $EVENT", matching(r'\{"script":".*"\}')),
    script("EVENT contains all other keys next to `script`", "echo $EVENT", matching(r'.*"more":\{"a":\[1,null,"\\u00e4"\]\}.*'), also={"more": {"a": [1, None, "ä"]}}),
    script("EVENT_TIME is in ISO 8601 format", "echo $EVENT_TIME", matching(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")),
    script("REQUEST_ID and AWS_LAMBDA_REQUEST_ID", '[ "$REQUEST_ID" = "$AWS_LAMBDA_REQUEST_ID" ] && echo $REQUEST_ID', matching(_UUID), in_batch=True),
    script("INSTANCE_IP is an IP address", "echo $INSTANCE_IP", matching(r"\d+\.\d+\.\d+\.\d+")),
    script("Credentials (in Batch: the address that renews them) and region", "[ -n \"$AWS_ACCESS_KEY_ID\" ] && [ -n \"$AWS_SECRET_ACCESS_KEY\" ] || case $AWS_BATCH_JOB_ID,$AWS_CONTAINER_CREDENTIALS_FULL_URI$AWS_CONTAINER_CREDENTIALS_RELATIVE_URI in ,*|*,) exit 1;; esac; for name in AWS_REGION AWS_DEFAULT_REGION; do eval value=\\$$name; [ -n \"$value\" ] && echo $name; done", "AWS_REGION\nAWS_DEFAULT_REGION", in_batch=True),
    script("EXTRA_PAYLOAD is the folder with the extra payload", "cat $EXTRA_PAYLOAD/note", "an extra payload", in_batch=True),
    script("Without an input file, INPUT_FILE_PATH is not set", "echo ${INPUT_FILE_PATH-none} ${STORAGE_OBJECT_KEY-none} ${SCAR_INPUT_FOLDER-none}; ls $TMP_INPUT_DIR", "none none none"),
    script("PATH comes from the image", "echo $PATH", "/usr/local/bin:/usr/bin:/bin", in_batch=True),
    program("If the image has no PATH, it is the same as in Docker", ["/static", "env", "PATH"], "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", image="bare"),
    script("LD_LIBRARY_PATH comes from the image", "echo $LD_LIBRARY_PATH", "/opt/lib", differs={"fakechroot": Expected(matching("/.*/opt/lib:/.*"), because="fakechroot needs this variable. The image's folders come first, as paths on the host")}, in_batch=True),
    script("LD_PRELOAD is not set", "echo ${LD_PRELOAD-unset}", "unset", differs={"fakechroot": Expected(matching(".*libfakechroot.*"), because="fakechroot works through this variable")}),
    script("PYTHONPATH and PYTHONHOME come from the image", "echo $PYTHONPATH $PYTHONHOME", "/nowhere/path /nowhere/home", in_batch=True),
    script("Variables that would affect the runner still reach the script", "echo $MALLOC_ARENA_MAX", "1"),
    script("No variables of the runner or of Lambda's runtime", "env | grep -E '^(SCAR_|AWS_LAMBDA_RUNTIME_API|LAMBDA_|_HANDLER|AWS_LAMBDA_FUNCTION|SSL_CERT|PYTHONSAFEPATH|ECS_)'; echo none", "none", in_batch=True),
    script("No variables of the host, except for the documented ones", "env | grep -vE '^(AWS_[A-Z_]*|EVENT|EVENT_TIME|REQUEST_ID|INSTANCE_IP|TMP_INPUT_DIR|TMP_OUTPUT_DIR|TMPDIR|HOME|PATH|PWD|OLDPWD|SHLVL|_|EXTRA_PAYLOAD|COLOR|GIVEN|OVERRIDDEN|OF_THE_IMAGE|PYTHONHOME|PYTHONPATH|LD_LIBRARY_PATH|MALLOC_ARENA_MAX)='; echo none", "none", differs={"fakechroot": Expected(matching("(FAKECHROOT[^\n]*\n|LD_PRELOAD=[^\n]*\n)*none"), because="fakechroot needs additional variables")}),
    script("No locale, unless the image sets one", "echo ${LANG-unset} ${LC_ALL-unset}", "unset unset"),
    script("Values with newlines and quotes stay one variable", "env | grep -c '^EVENT='", "1", also={"odd": "a\nb'c\"d $HOME `id`"}),
    script("An event of 100 KB fits into EVENT", "echo ${#EVENT} | grep -qE '^1[0-9]{5}$' && echo long", "long", also={"filler": "x" * 100_000}),
    script("EVENT omits `body` and `script` of a longer event", "echo ${#EVENT}", matching(r"\d{1,3}"), also={"body": "x" * 140_000}),
    script("An event that does not fit is rejected", "echo no", fails="EventTooLarge", also={"filler": "x" * 200_000}),
]  # fmt: skip

USERS = [
    script("User and group", "id -u; id -g", "1234\n4321", differs={LAMBDA: Expected("993\n990", because=_LAMBDAS_USER), "fakechroot": Expected("65534\n65534", because=_NO_USERS)}, in_batch=True),
    script("The user has a name", "id -un", "worker", differs={LAMBDA: Expected("sbx_user1051", because=_LAMBDAS_USER), "fakechroot": Expected(fails="exited with code 1", because="the image does not know the runner's user")}, in_batch=True),
    script("The script is not root and cannot become root", "cat /data/secret 2>/dev/null || echo refused", "refused", differs={"fakechroot": Expected("of root", because="all files of the image belong to the runner's user")}, in_batch=True),
    script("No capabilities", "grep CapEff /proc/self/status", matching("CapEff:\t0{16}"), in_batch=True),
]  # fmt: skip

FOLDERS = [
    script("HOME is writable", 'touch "$HOME/x" && echo yes', "yes", in_batch=True),
    script("TMPDIR is writable", 'touch "$TMPDIR/x" && echo yes', "yes", in_batch=True),
    script("/tmp is writable", "touch /tmp/left-behind && echo yes", "yes", in_batch=True),
    script("The working directory is writable", "touch ./x && pwd", matching("/.*"), differs={"namespaces fakechroot": Expected(matching(".*ermission denied"), fails="exited with code 1", because="The working directory is `/`, as in Docker for an image without `WORKDIR`, and belongs to root")}, in_batch=True),
    program("HOME is writable in an image without users", ["/static", "write", "/tmp/probe"], "written", image="bare"),
    program("The working directory is writable in an otherwise empty image", ["/static", "folder"], "writable", image="bare", in_batch=True),
    script("TMP_OUTPUT_DIR is empty", 'ls -A "$TMP_OUTPUT_DIR"; echo $?', "0"),
    script("TMPDIR is empty", 'ls -A "$TMPDIR"; echo $?', "0"),
    script("The working directory is the image's WORKDIR", "pwd", "/work", image="busybox", in_batch=True),
    script("The root file system is writable", "touch /open/x && echo yes", "yes", differs={LAMBDA: Expected(matching(".*Read-only file system"), fails="read-only on AWS Lambda: write to \\$HOME", because="it is read-only on AWS Lambda. The error message explains what to do"), "fakechroot": Expected(matching(".*ermission denied"), fails="exited with code 1", because="fakechroot removes write permissions to protect the image")}, in_batch=True),
    script("Files of earlier runs outside /tmp are gone", "ls /open", "", differs={"batch": Expected("")}),
    script("Files of earlier runs in /tmp are gone", "[ -e /tmp/left-behind ] && echo still there || echo gone", "gone", differs={LAMBDA: Expected("still there", because="as on AWS Lambda, an execution environment keeps `/tmp` for the next invocation")}),
    script("The umask is 0022", "umask", "0022", in_batch=True),
    script("Files in TMPDIR can be executed", 'printf "#!/bin/sh\\necho runs\\n" > $TMPDIR/x; chmod 755 $TMPDIR/x; $TMPDIR/x', "runs"),
    script("The extra payload is read-only", "touch $EXTRA_PAYLOAD/x 2>/dev/null && echo written || echo read-only", "read-only", differs={"batch": Expected("read-only")}),
    script("The runner's files are not writable", "touch /.scar/x 2>/dev/null && echo written || echo refused", "refused", in_batch=True),
]  # fmt: skip

MACHINE = [
    script("Standard input is empty", "cat; echo $?", "0", in_batch=True),
    script("/dev/null, /dev/zero, /dev/urandom", "head -c 3 /dev/zero > $TMPDIR/x; head -c 5 /dev/urandom >> $TMPDIR/x; cat $TMPDIR/x > /dev/null; ls $TMPDIR", "x"),
    script("/dev/fd and /dev/stdout", "echo by descriptor > /dev/fd/1; echo by name > /dev/stdout", "by descriptor\nby name", in_batch=True),
    script("/dev/stderr", "echo to stderr > /dev/stderr", "to stderr"),
    script("/proc contains the script's own process", "read -r line < /proc/self/stat; [ -n \"$line\" ] && echo proc", "proc"),
    script("Only processes of this function are visible", "ls -d /proc/[0-9]* | grep -c . > $TMPDIR/n; read -r n < $TMPDIR/n; [ $n -lt 15 ] && echo few", "few", in_batch=True),
    script("The runner's environment cannot be read", "for f in /proc/[0-9]*/environ; do grep -l AWS_LAMBDA_RUNTIME_API $f; grep -l SCAR_STORE $f; done 2>/dev/null; echo none", "none", differs={"fakechroot": Expected(matching(".*none"), because="fakechroot is not a security boundary")}),
    script("The runner's memory cannot be read", "head -c 1 /proc/$PPID/mem > /dev/null 2>&1 && echo read || echo refused", "refused"),
    script("The script cannot write to the runner's own output", "if echo forged > /proc/$PPID/fd/1; then echo written; else echo refused; fi 2>/dev/null", matching("(.*\n)?refused"), differs={"fakechroot": Expected(matching("(.*\n)?(refused|written)"), because="fakechroot is not a security boundary")}),
    script("No time zone, unless the image sets one", "echo ${TZ-unset}", "unset"),
    script("Pipes", "echo through | cat | cat", "through"),
    script("At least 256 open files", "ulimit -n", matching(r"\d{3,}"), in_batch=True),
    script("Standard input and output are not a terminal", "[ -t 0 ] || [ -t 1 ] || echo none", "none"),
]  # fmt: skip
