/*
 * The smallest sensible program from delivery to push_notify datagram: what pushmaild is measured against. It leaves
 * out all that a daemon needs besides: no debouncing, nothing for changes in cur/, no rescan after an overflow.
 *
 *   inotify_send SOCKET MAP       watch the Maildirs of MAP, lines `user: /path`; "watching" on stderr when armed
 *   inotify_send SOCKET -u USER   send one datagram now, as pushmailnow did for the shell loops that called it
 */
#include <err.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static struct sockaddr_un to = { .sun_family = AF_UNIX };
static int out;
static char **users; /* by watch descriptor; NULL for cur/ */
static int users_len;

static void push(const char *user)
{
	char record[1680] = "3"; /* osx-10.8: message type at 0, user at 16, 128 bytes */
	strncpy(record + 16, user, 127);
	/* Blocks while the receiver's queue is full: the least code that loses nothing here. */
	if (sendto(out, record, sizeof record, 0, (struct sockaddr *)&to, sizeof to) < 0)
		warn("sendto %s", to.sun_path);
}

static void watch(int in, const char *maildir, const char *part, char *user)
{
	char path[PATH_MAX];
	snprintf(path, sizeof path, "%s/%s", maildir, part);
	int wd = inotify_add_watch(in, path, IN_MOVED_TO | IN_MOVED_FROM | IN_CREATE | IN_DELETE);
	if (wd < 0)
		err(1, "%s", path);
	if (wd >= users_len) {
		users_len = 2 * wd;
		users = realloc(users, users_len * sizeof *users);
	}
	users[wd] = user;
}

int main(int argc, char **argv)
{
	static char events[65536] __attribute__((aligned(__alignof__(struct inotify_event))));
	char user[128], maildir[PATH_MAX - 8];
	if (argc < 3)
		errx(2, "usage: inotify_send SOCKET MAP | inotify_send SOCKET -u USER");
	strncpy(to.sun_path, argv[1], sizeof to.sun_path - 1);
	out = socket(AF_UNIX, SOCK_DGRAM, 0);
	if (argc == 4) {
		push(argv[3]);
		return 0;
	}
	int in = inotify_init();
	FILE *map = fopen(argv[2], "r");
	if (in < 0 || !map)
		err(1, "%s", argv[2]);
	while (fscanf(map, "%127[^:]: %4087[^\n]\n", user, maildir) == 2) {
		watch(in, maildir, "new", strdup(user));
		watch(in, maildir, "cur", NULL);
	}
	fprintf(stderr, "watching\n");

	for (ssize_t len; (len = read(in, events, sizeof events)) > 0;)
		for (char *at = events; at < events + len;) {
			struct inotify_event *event = (struct inotify_event *)at;
			if (event->mask & IN_Q_OVERFLOW)
				warnx("overflow: events lost");
			else if (event->mask & (IN_MOVED_TO | IN_CREATE) && users[event->wd])
				push(users[event->wd]);
			at += sizeof *event + event->len;
		}
	err(1, "read");
}
