/* Prints its environment and arguments; --exit N exits with N, --count FILE counts its lines,
   --sleep SECONDS sleeps, --spin never ends. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

extern char **environ;

int main(int argc, char **argv) {
  for (char **variable = environ; *variable; variable++) printf("env %s\n", *variable);
  for (int i = 0; i < argc; i++) printf("arg %d=%s\n", i, argv[i]);
  for (int i = 1; i < argc; i++) {
    if (!strcmp(argv[i], "--exit")) exit(atoi(argv[i + 1]));
    if (!strcmp(argv[i], "--sleep")) sleep(atoi(argv[i + 1]));
    if (!strcmp(argv[i], "--spin"))
      for (volatile int n = 0;; n++) {
      }
    if (!strcmp(argv[i], "--count")) {
      FILE *file = fopen(argv[i + 1], "r");
      if (!file) {
        perror(argv[i + 1]);
        exit(1);
      }
      long lines = 0;
      for (int c; (c = fgetc(file)) != EOF;) lines += c == '\n';
      printf("count %ld\n", lines);
    }
  }
  return 0;
}
