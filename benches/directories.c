/*
 * The least that a start or a rescan can be: one system call for each directory, one after the other.
 *
 *   directories watch LIST   inotify_add_watch on new/ and cur/ of each Maildir of LIST, one path a line
 *   directories statx LIST   statx of the same
 *   directories both LIST    each watch followed by its statx
 *
 * Prints the number of directories, and the seconds that this took by the clock and of the CPU. The list is in memory by then.
 */
#define _GNU_SOURCE
#include <err.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <time.h>

static double seconds(clockid_t clock)
{
	struct timespec time;
	clock_gettime(clock, &time);
	return time.tv_sec + time.tv_nsec / 1e9;
}

int main(int argc, char **argv)
{
	static const char *parts[] = { "new", "cur" };
	if (argc != 3)
		errx(2, "usage: directories watch|statx|both LIST");
	int watch = *argv[1] != 's', look = *argv[1] != 'w', in = inotify_init1(IN_NONBLOCK);
	FILE *file = fopen(argv[2], "r");
	if (in < 0 || !file)
		err(1, "%s", argv[2]);
	char *list = NULL;
	size_t room = 0;
	ssize_t size = getdelim(&list, &room, '\0', file);
	long count = 0;
	double wall = seconds(CLOCK_MONOTONIC), cpu = seconds(CLOCK_PROCESS_CPUTIME_ID);

	for (char *at = list, *end; at < list + size; at = end + 1) {
		end = memchr(at, '\n', list + size - at);
		for (int part = 0; part < 2; part++, count++) {
			char path[PATH_MAX];
			struct statx found;
			snprintf(path, sizeof path, "%.*s/%s", (int)(end - at), at, parts[part]);
			if (watch && inotify_add_watch(in, path, IN_MOVED_TO | IN_MOVED_FROM | IN_CREATE | IN_DELETE) < 0)
				err(1, "%s", path);
			if (look && statx(AT_FDCWD, path, AT_SYMLINK_NOFOLLOW, STATX_BASIC_STATS, &found) < 0)
				err(1, "%s", path);
		}
	}
	printf("%ld %.6f %.6f\n", count, seconds(CLOCK_MONOTONIC) - wall, seconds(CLOCK_PROCESS_CPUTIME_ID) - cpu);
	return 0;
}
