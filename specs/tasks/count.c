/* Counts the lines of log files by level and by HTTP status class.
 *
 *     count DIRECTORY-OR-FILE...   counts, prints one line of JSON
 *     count exit N                 ends with exit code N
 *     count sleep SECONDS          waits, then ends well
 *     count trap                   ends in a trap
 *
 * A line's level is the first of its words that names one (INFO, "level":"warn", [error]); its
 * status is the number from 100 to 599 after the request's closing quote, or after status=.
 * The result is one write, because of a WASM task's output the node keeps only the first.
 */
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

enum { MAX_DEPTH = 8, MAX_LINE = 4096, MAX_PATH = 1024 };

static const char *const level_words[] = {"trace", "debug", "info",     "notice", "warn",
                                          "warning", "error", "critical", "fatal"};
/* Which counter a word belongs to: "warning" counts as "warn". */
static const int level_of[] = {0, 1, 2, 3, 4, 4, 5, 6, 7};
static const char *const level_names[] = {"trace", "debug", "info",  "notice",
                                          "warn",  "error", "critical", "fatal"};
enum { WORDS = 9, LEVELS = 8 };

static unsigned long long levels[LEVELS], statuses[6], lines, bytes, files;

static void count_level(const char *line, size_t size) {
    size_t at = 0;
    while (at < size) {
        while (at < size && !isalpha((unsigned char)line[at])) {
            at++;
        }
        size_t start = at;
        while (at < size && isalpha((unsigned char)line[at])) {
            at++;
        }
        for (int word = 0; word < WORDS; word++) {
            if (at - start == strlen(level_words[word]) &&
                strncasecmp(line + start, level_words[word], at - start) == 0) {
                levels[level_of[word]]++;
                return;
            }
        }
    }
}

static int is_status(const char *text, size_t left) {
    return left >= 3 && text[0] >= '1' && text[0] <= '5' && isdigit((unsigned char)text[1]) &&
           isdigit((unsigned char)text[2]) && (left == 3 || !isalnum((unsigned char)text[3]));
}

static void count_status(const char *line, size_t size) {
    for (size_t at = 0; at < size; at++) {
        size_t skip = 0;
        if (line[at] == '"' && at + 1 < size && line[at + 1] == ' ') {
            skip = 2; /* the common log format: "GET / HTTP/1.1" 200 */
        } else if (size - at > 7 && strncasecmp(line + at, "status", 6) == 0) {
            skip = 6;
            while (at + skip < size && strchr("\":= ", line[at + skip])) {
                skip++;
            }
        }
        if (skip && at + skip < size && is_status(line + at + skip, size - at - skip)) {
            statuses[line[at + skip] - '0']++;
            return;
        }
    }
}

static void count_line(const char *line, size_t size) {
    lines++;
    count_level(line, size);
    count_status(line, size);
}

static int count_file(const char *path) {
    static char line[MAX_LINE], block[65536];
    int file = open(path, O_RDONLY);
    if (file < 0) {
        return -1;
    }
    size_t length = 0;
    ssize_t got;
    files++;
    while ((got = read(file, block, sizeof block)) > 0) {
        bytes += (unsigned long long)got;
        for (ssize_t i = 0; i < got; i++) {
            if (block[i] == '\n') {
                count_line(line, length);
                length = 0;
            } else if (length < MAX_LINE) {
                line[length++] = block[i];
            }
        }
    }
    close(file);
    /* A last line without its newline is still being written: the next run counts it. */
    return got < 0 ? -1 : 0;
}

static int count_path(const char *path, int depth) {
    struct stat status;
    if (stat(path, &status) != 0) {
        return -1;
    }
    if (S_ISREG(status.st_mode)) {
        return count_file(path);
    }
    if (!S_ISDIR(status.st_mode) || depth == MAX_DEPTH) {
        return 0;
    }
    DIR *directory = opendir(path);
    if (!directory) {
        return -1;
    }
    int result = 0;
    for (struct dirent *entry; (entry = readdir(directory)) != NULL;) {
        char name[MAX_PATH];
        if (entry->d_name[0] == '.') {
            continue;
        }
        if (snprintf(name, sizeof name, "%s/%s", path, entry->d_name) >= (int)sizeof name ||
            count_path(name, depth + 1) != 0) {
            result = -1;
        }
    }
    closedir(directory);
    return result;
}

static char result[2048];
static size_t result_size;

static void add(const char *format, const char *name, unsigned long long value) {
    size_t room = sizeof result - result_size;
    int size = snprintf(result + result_size, room, format, name, value);
    result_size += size > 0 && (size_t)size < room ? (size_t)size : 0;
}

static int print_result(void) {
    static const char *const classes[] = {"", "1xx", "2xx", "3xx", "4xx", "5xx"};
    add("{\"%s\":%llu", "files", files);
    add(",\"%s\":%llu", "bytes", bytes);
    add(",\"%s\":%llu", "lines", lines);
    add(",\"%s\":{", "levels", 0);
    const char *format = "\"%s\":%llu";
    for (int level = 0; level < LEVELS; level++) {
        if (levels[level]) {
            add(format, level_names[level], levels[level]);
            format = ",\"%s\":%llu";
        }
    }
    add("},\"%s\":{", "status", 0);
    format = "\"%s\":%llu";
    for (int class = 1; class <= 5; class++) {
        if (statuses[class]) {
            add(format, classes[class], statuses[class]);
            format = ",\"%s\":%llu";
        }
    }
    add("}}%s", "\n", 0);
    return write(STDOUT_FILENO, result, result_size) == (ssize_t)result_size ? 0 : 1;
}

int main(int argc, char **argv) {
    if (argc == 3 && strcmp(argv[1], "exit") == 0) {
        exit(atoi(argv[2]));
    }
    if (argc == 3 && strcmp(argv[1], "sleep") == 0) {
        sleep((unsigned)atoi(argv[2]));
        return 0;
    }
    if (argc == 2 && strcmp(argv[1], "trap") == 0) {
        __builtin_trap();
    }
    if (argc < 2) {
        static const char usage[] = "usage: count DIRECTORY-OR-FILE... | exit N | sleep SECONDS | trap\n";
        write(STDERR_FILENO, usage, sizeof usage - 1);
        return 2;
    }
    for (int i = 1; i < argc; i++) {
        if (count_path(argv[i], 0) != 0) {
            char text[1200];
            int size = snprintf(text, sizeof text, "count: %s: %s\n", argv[i], strerror(errno));
            write(STDERR_FILENO, text, (size_t)size);
            return 1;
        }
    }
    return print_result();
}
