/* Ends in the way its first argument names: none, exit0, trap, abort, oom. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int main(int argc, char **argv) {
  const char *mode = argc > 1 ? argv[1] : "none";
  printf("start\n");
  if (!strcmp(mode, "exit0")) exit(0);
  if (!strcmp(mode, "trap")) __builtin_trap();
  if (!strcmp(mode, "abort")) abort();
  if (!strcmp(mode, "oom"))
    for (;;) {
      volatile char *page = malloc(1 << 20);
      if (page) page[0] = 1;
    }
  return 0;
}
