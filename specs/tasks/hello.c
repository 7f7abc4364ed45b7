/* Prints one line: its arguments and the ORCH_ variables of its environment.
 *
 * One write, because of a WASM task's output the node keeps only the first.
 */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

extern char **environ;

static char line[2048];
static size_t length;

static void add(const char *text) {
    size_t room = sizeof line - 1 - length; /* one byte stays for the newline */
    size_t size = strlen(text);
    if (size > room) {
        size = room;
    }
    memcpy(line + length, text, size);
    length += size;
}

int main(int argc, char **argv) {
    add("hello");
    for (int i = 1; i < argc; i++) {
        add(" ");
        add(argv[i]);
    }
    for (char **variable = environ; *variable; variable++) {
        if (strncmp(*variable, "ORCH_", 5) == 0) {
            add(" ");
            add(*variable);
        }
    }
    line[length++] = '\n';
    return write(STDOUT_FILENO, line, length) == (ssize_t)length ? 0 : 1;
}
