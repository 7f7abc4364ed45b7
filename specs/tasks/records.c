/* Counts the records of a batch: the lines of one file, and the offsets that they name.
 *
 *     records FILE     prints one line of JSON:
 *                      {"count":3,"first":100,"last":102,"bytes":600}
 *
 * A record is a line. `first` and `last` are what the first and the last of them have as
 * "offset" at its beginning, null where they have none (raw values). `bytes` is the file's size.
 * Exit codes: 0, 2 for wrong use, 65 for a compressed file, 66 for one that cannot be read.
 * The result is one write, because of a WASM task's output the node keeps only the first.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { HEAD = 32, USAGE = 2, COMPRESSED = 65, UNREADABLE = 66 };

static const char mark[] = "{\"offset\":";
static char block[1 << 16], head[HEAD + 1];
static unsigned long long count, bytes;
static long long first = -1, last = -1;
static size_t length;

static int fail(int code, const char *path, const char *reason) {
    char text[1200];
    int size = snprintf(text, sizeof text, "records: %s: %s\n", path, reason);
    write(STDERR_FILENO, text, size > 0 && (size_t)size < sizeof text ? (size_t)size : 0);
    return code;
}

/* The offset at the beginning of the line that `head` holds, or -1. */
static long long offset_of_line(void) {
    head[length < HEAD ? length : HEAD] = '\0';
    if (strncmp(head, mark, sizeof mark - 1) != 0) {
        return -1;
    }
    char *end;
    const char *number = head + sizeof mark - 1;
    long long offset = strtoll(number, &end, 10);
    return end == number || offset < 0 ? -1 : offset;
}

static void end_line(void) {
    last = offset_of_line();
    if (count == 0) {
        first = last;
    }
    count++;
    length = 0;
}

static void take(ssize_t got) {
    for (ssize_t i = 0; i < got; i++) {
        if (block[i] == '\n') {
            end_line();
        } else {
            if (length < HEAD) {
                head[length] = block[i];
            }
            length++;
        }
    }
}

static int is_compressed(ssize_t got) {
    return (got >= 2 && memcmp(block, "\x1f\x8b", 2) == 0) ||
           (got >= 4 && memcmp(block, "\x28\xb5\x2f\xfd", 4) == 0);
}

static int print_result(void) {
    char ends[2][24] = {"null", "null"}, text[160];
    if (first >= 0) {
        snprintf(ends[0], sizeof ends[0], "%lld", first);
    }
    if (last >= 0) {
        snprintf(ends[1], sizeof ends[1], "%lld", last);
    }
    int size = snprintf(text, sizeof text, "{\"count\":%llu,\"first\":%s,\"last\":%s,\"bytes\":%llu}\n",
                        count, ends[0], ends[1], bytes);
    return write(STDOUT_FILENO, text, (size_t)size) == size ? 0 : 1;
}

int main(int argc, char **argv) {
    if (argc != 2) {
        return fail(USAGE, "usage", "records FILE");
    }
    int file = open(argv[1], O_RDONLY);
    if (file < 0) {
        return fail(UNREADABLE, argv[1], strerror(errno));
    }
    ssize_t got;
    while ((got = read(file, block, sizeof block)) > 0) {
        if (bytes == 0 && is_compressed(got)) {
            return fail(COMPRESSED, argv[1], "compressed, and this task reads plain files only");
        }
        bytes += (unsigned long long)got;
        take(got);
    }
    if (got < 0) {
        return fail(UNREADABLE, argv[1], strerror(errno));
    }
    if (length) {
        end_line();
    }
    return print_result();
}
