/* The load driver: calls from a number of callers, each with numbers of its own in its body.
 *
 * load PROTOCOL ADDRESS PATH BODY CALLERS CONNECTIONS SECONDS WARM CALLS FIRST EXPECTED SLACK RATE
 *      [OFFSET KIND BASE STEP]...
 *
 * PROTOCOL is `grpc` for unary calls, many on a connection, or `http` for POST of JSON over HTTP/1.1, with a connection
 * for each caller and no RATE. Where RATE is 0, each caller makes its next call when its last one was answered, until
 * SECONDS have passed or CALLS were begun; then those under way are waited for. With LOAD_AWAKE in the environment a
 * caller that is alone does not sleep while it waits: on a virtual machine it takes up to 0.2 ms to wake after a call of
 * 1 ms, which is not the server's time. Else so many calls a second are due, one after another, and a caller that is free makes each; its time
 * counts from when it was due, so that a server that stalls hides nothing by holding the callers up.
 *
 * BODY is a file with the message of every call; at each OFFSET in it eight digits are written anew for call number i
 * (FIRST, FIRST + 1, ...): BASE + STEP * i for the kind `count`, BASE + a random number below STEP for `random`. A call
 * counts where its status (HTTP's and, of gRPC, grpc-status) is good and the answer is one message of EXPECTED bytes,
 * give or take SLACK; the first that is not ends all, with exit code 1. What is measured: the calls answered, or due
 * where there is a RATE, from WARM seconds on. One JSON object on stdout has them. The environment's LOAD_AUTHORIZATION
 * is sent as `authorization`.
 */
#define _GNU_SOURCE /* asprintf, ppoll, strcasestr */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <nghttp2/nghttp2.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { PREFIX = 5, DIGITS = 8, STALLED_AFTER = 20, MOST_CALLS = 5000000, MOST_HTTP_ANSWER = 65536 };

typedef struct { int offset, is_random; long base, step; } Number;
typedef struct {
  char *body;
  size_t sent;
  double began;
  int http_status, grpc_status;
  size_t received;
  unsigned char prefix[PREFIX];
  char message[256];
} Call;
typedef struct {
  int fd;
  nghttp2_session *session; /* none over HTTP/1.1 */
  Call *call;               /* the one under way over HTTP/1.1 */
  char answer[MOST_HTTP_ANSWER];
} Connection;

static const char *path, *authorization;
static char *body;
static size_t body_size, prefix_size;
static int is_grpc;
static Number *numbers;
static int number_count;
static long first, most_calls, begun, answered;
static size_t expected, slack;
static double started, seconds, rate;
static double *counted_at, *took;
static unsigned long random_state;

static void fail(const char *what, const char *why) {
  fprintf(stderr, "load: %s: %s\n", what, why);
  exit(1);
}

static double now(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return time.tv_sec + time.tv_nsec * 1e-9;
}

static unsigned long random_number(void) {
  random_state ^= random_state << 13;
  random_state ^= random_state >> 7;
  random_state ^= random_state << 17;
  return random_state;
}

static double due(void) { return started + (double)begun / rate; }

static int is_due_later(void) { return rate && begun < most_calls && due() < started + seconds; }

static Call *new_call(void) {
  Call *call = calloc(1, sizeof *call);
  call->grpc_status = -1;
  call->body = malloc(body_size);
  memcpy(call->body, body, body_size);
  for (int place = 0; place < number_count; place++) {
    const Number *number = &numbers[place];
    long value = number->is_random ? number->base + (long)(random_number() % (unsigned long)number->step)
                                   : number->base + number->step * (first + begun);
    char digits[24];
    snprintf(digits, sizeof digits, "%08ld", value % 100000000L);
    memcpy(call->body + number->offset, digits, DIGITS);
  }
  call->began = rate ? due() : now();
  begun++;
  return call;
}

static int is_as_expected(size_t size) { return size + slack >= expected && size <= expected + slack; }

/* Note a call that was answered well, and say whether its caller goes on. */
static int end_call(Call *call) {
  double time = now();
  counted_at[answered] = (rate ? call->began : time) - started;
  took[answered++] = time - call->began;
  free(call->body);
  free(call);
  return !rate && begun < most_calls && time - started < seconds;
}

static void write_all(int fd, const void *data, size_t size) {
  while (size) {
    ssize_t written = write(fd, data, size);
    if (written < 0) {
      if (errno != EAGAIN) fail("the connection broke", strerror(errno));
      struct pollfd writable = {fd, POLLOUT, 0};
      poll(&writable, 1, 1000);
      continue;
    }
    data = (const char *)data + written;
    size -= (size_t)written;
  }
}

/* HTTP/1.1 */

static void begin_http_call(Connection *connection) {
  Call *call = connection->call = new_call();
  char *request;
  int size = asprintf(&request,
                      "POST %s HTTP/1.1\r\nhost: localhost\r\nuser-agent: aka-benchmarks\r\nauthorization: %s\r\n"
                      "content-type: application/json\r\ncontent-length: %zu\r\n\r\n%.*s",
                      path, authorization, body_size, (int)body_size, call->body);
  if (size < 0) fail("a call", "cannot be made");
  write_all(connection->fd, request, (size_t)size);
  free(request);
}

static void receive_http(Connection *connection) {
  Call *call = connection->call;
  char *answer = connection->answer;
  ssize_t size = read(connection->fd, answer + call->received, MOST_HTTP_ANSWER - 1 - call->received);
  if (size < 0 && errno == EAGAIN) return;
  if (size <= 0) fail("the connection", size ? strerror(errno) : "was closed, or the answer is too large");
  call->received += (size_t)size;
  answer[call->received] = 0;
  const char *head_end = strstr(answer, "\r\n\r\n");
  if (head_end == NULL) return;
  const char *length = strcasestr(answer, "\r\ncontent-length:");
  if (length == NULL || length > head_end) fail(path, "the answer does not tell its length");
  size_t message = strtoul(length + 17, NULL, 10), head = (size_t)(head_end + 4 - answer);
  if (call->received < head + message) return;
  if (strncmp(answer, "HTTP/1.1 200 ", 13) || call->received != head + message || !is_as_expected(message))
    fail(path, answer);
  if (end_call(call)) begin_http_call(connection);
}

/* gRPC */

static ssize_t read_body(nghttp2_session *session, int32_t stream, uint8_t *into, size_t room, uint32_t *flags,
                         nghttp2_data_source *source, void *user) {
  (void)session, (void)stream, (void)user;
  Call *call = source->ptr;
  size_t rest = body_size - call->sent, size = rest < room ? rest : room;
  memcpy(into, call->body + call->sent, size);
  call->sent += size;
  if (call->sent == body_size) *flags |= NGHTTP2_DATA_FLAG_EOF;
  return (ssize_t)size;
}

static nghttp2_nv header(const char *name, const char *value) {
  nghttp2_nv pair = {(uint8_t *)name, (uint8_t *)value, strlen(name), strlen(value), NGHTTP2_NV_FLAG_NONE};
  return pair;
}

static void begin_grpc_call(Connection *connection) {
  Call *call = new_call();
  nghttp2_nv headers[] = {header(":method", "POST"),  header(":scheme", "http"),
                          header(":path", path),      header(":authority", "localhost"),
                          header("te", "trailers"),   header("content-type", "application/grpc"),
                          header("user-agent", "aka-benchmarks"), header("authorization", authorization)};
  nghttp2_data_provider provider = {.source = {.ptr = call}, .read_callback = read_body};
  if (nghttp2_submit_request(connection->session, NULL, headers, sizeof headers / sizeof *headers, &provider, call) < 0)
    fail("a call", "cannot be submitted");
}

static int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name, size_t name_size,
                     const uint8_t *value, size_t value_size, uint8_t flags, void *user) {
  (void)flags, (void)user;
  Call *call = nghttp2_session_get_stream_user_data(session, frame->hd.stream_id);
  if (call == NULL) return 0;
  if (name_size == 11 && !memcmp(name, "grpc-status", 11)) call->grpc_status = atoi((const char *)value);
  if (name_size == 7 && !memcmp(name, ":status", 7)) call->http_status = atoi((const char *)value);
  if (name_size == 12 && !memcmp(name, "grpc-message", 12))
    snprintf(call->message, sizeof call->message, "%.*s", (int)value_size, (const char *)value);
  return 0;
}

static int on_data(nghttp2_session *session, uint8_t flags, int32_t stream, const uint8_t *data, size_t size,
                   void *user) {
  (void)flags, (void)user;
  Call *call = nghttp2_session_get_stream_user_data(session, stream);
  if (call == NULL) return 0;
  for (size_t place = 0; place < size && call->received + place < PREFIX; place++)
    call->prefix[call->received + place] = data[place];
  call->received += size;
  return 0;
}

static int on_close(nghttp2_session *session, int32_t stream, uint32_t error, void *user) {
  Call *call = nghttp2_session_get_stream_user_data(session, stream);
  if (call == NULL) return 0;
  const unsigned char *prefix = call->prefix;
  size_t size = (size_t)prefix[1] << 24 | (size_t)prefix[2] << 16 | (size_t)prefix[3] << 8 | prefix[4];
  if (error || call->http_status != 200 || call->grpc_status != 0 || prefix[0] != 0 || !is_as_expected(size) ||
      call->received != PREFIX + size) {
    char why[512];
    snprintf(why, sizeof why, "HTTP/2 error %u, HTTP %d, grpc-status %d (%s), a message of %zu bytes, not of %zu",
             error, call->http_status, call->grpc_status, call->message, size, expected);
    fail(path, why);
  }
  if (end_call(call)) begin_grpc_call(user);
  return 0;
}

static void flush(Connection *connection) {
  static uint8_t buffer[65536];
  size_t filled = 0;
  for (;;) {
    const uint8_t *data;
    ssize_t size = nghttp2_session_mem_send(connection->session, &data);
    if (size < 0) fail("HTTP/2", nghttp2_strerror((int)size));
    if (filled && (size == 0 || filled + (size_t)size > sizeof buffer)) {
      write_all(connection->fd, buffer, filled);
      filled = 0;
    }
    if (size == 0) return;
    if ((size_t)size > sizeof buffer) {
      write_all(connection->fd, data, (size_t)size);
    } else {
      memcpy(buffer + filled, data, (size_t)size);
      filled += (size_t)size;
    }
  }
}

static void receive_grpc(Connection *connection) {
  static uint8_t buffer[65536];
  for (;;) {
    ssize_t size = read(connection->fd, buffer, sizeof buffer);
    if (size == 0) fail("the connection", "was closed by the server");
    if (size < 0) {
      if (errno != EAGAIN) fail("the connection broke", strerror(errno));
      break;
    }
    ssize_t taken = nghttp2_session_mem_recv(connection->session, buffer, (size_t)size);
    if (taken < 0) fail("HTTP/2", nghttp2_strerror((int)taken));
    if ((size_t)size < sizeof buffer) break;
  }
  flush(connection);
}

static void open_connection(Connection *connection, const char *address, const nghttp2_session_callbacks *callbacks) {
  char host[64];
  const char *colon = strrchr(address, ':');
  if (colon == NULL || (size_t)(colon - address) >= sizeof host) fail(address, "is not HOST:PORT");
  snprintf(host, sizeof host, "%.*s", (int)(colon - address), address);
  struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(colon + 1))};
  if (inet_pton(AF_INET, host, &to.sin_addr) != 1) fail(address, "is not an IPv4 address");
  connection->fd = socket(AF_INET, SOCK_STREAM, 0);
  if (connect(connection->fd, (struct sockaddr *)&to, sizeof to)) fail(address, strerror(errno));
  int one = 1;
  setsockopt(connection->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  fcntl(connection->fd, F_SETFL, O_NONBLOCK);
  if (!is_grpc) return;
  if (nghttp2_session_client_new(&connection->session, callbacks, connection)) fail("HTTP/2", "no memory");
  nghttp2_settings_entry settings[] = {{NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, 1 << 20}};
  nghttp2_submit_settings(connection->session, NGHTTP2_FLAG_NONE, settings, 1);
  nghttp2_session_set_local_window_size(connection->session, NGHTTP2_FLAG_NONE, 0, 1 << 28);
  flush(connection);
}

static void read_template(const char *file) {
  FILE *opened = fopen(file, "rb");
  if (opened == NULL) fail(file, strerror(errno));
  fseek(opened, 0, SEEK_END);
  size_t size = (size_t)ftell(opened);
  rewind(opened);
  body_size = prefix_size + size;
  body = calloc(1, body_size);
  if (is_grpc)
    for (int place = 0; place < 4; place++) body[1 + place] = (char)(size >> (24 - 8 * place));
  if (fread(body + prefix_size, 1, size, opened) != size) fail(file, "cannot be read");
  fclose(opened);
}

static int by_size(const void *one, const void *other) {
  double a = *(const double *)one, b = *(const double *)other;
  return (a > b) - (a < b);
}

static void report(double warm) {
  double until = begun < most_calls || counted_at[answered - 1] > seconds ? seconds : counted_at[answered - 1];
  long counted = 0;
  for (long place = 0; place < answered; place++)
    if (counted_at[place] >= warm && counted_at[place] <= until) took[counted++] = took[place];
  if (counted == 0) fail("no call", "was answered in time");
  qsort(took, (size_t)counted, sizeof *took, by_size);
  struct rusage used;
  getrusage(RUSAGE_SELF, &used);
  double busy = used.ru_utime.tv_sec + used.ru_stime.tv_sec + (used.ru_utime.tv_usec + used.ru_stime.tv_usec) * 1e-6;
  printf("{\"calls\": %ld, \"rate\": %.3f, \"p50\": %.9f, \"p99\": %.9f, \"driver_busy\": %.3f}\n", answered,
         counted / (until - warm), took[counted / 2], took[(long)(counted * 0.99)], busy / (now() - started));
}

int main(int count, char **words) {
  if (count < 14 || (count - 14) % 4) fail("usage", "see the head of load.c");
  is_grpc = !strcmp(words[1], "grpc");
  prefix_size = is_grpc ? PREFIX : 0;
  path = words[3];
  read_template(words[4]);
  int callers = atoi(words[5]), connection_count = atoi(words[6]);
  seconds = atof(words[7]);
  double warm = atof(words[8]);
  most_calls = atol(words[9]);
  first = atol(words[10]);
  expected = (size_t)atol(words[11]);
  slack = (size_t)atol(words[12]);
  rate = atof(words[13]);
  if (!is_grpc && (callers != connection_count || rate)) fail(words[1], "needs a connection a caller, and no rate");
  if (most_calls < 1 || most_calls > MOST_CALLS) fail(words[9], "is not a number of calls");
  number_count = (count - 14) / 4;
  numbers = calloc((size_t)number_count + 1, sizeof *numbers);
  for (int place = 0; place < number_count; place++) {
    char **word = &words[14 + 4 * place];
    Number number = {(int)prefix_size + atoi(word[0]), !strcmp(word[1], "random"), atol(word[2]), atol(word[3])};
    if ((size_t)number.offset + DIGITS > body_size) fail(word[0], "is outside of the body");
    numbers[place] = number;
  }
  const int stays_awake = getenv("LOAD_AWAKE") && callers == 1 && !rate;
  authorization = getenv("LOAD_AUTHORIZATION") ? getenv("LOAD_AUTHORIZATION") : "";
  counted_at = calloc((size_t)most_calls, sizeof *counted_at);
  took = calloc((size_t)most_calls, sizeof *took);
  random_state = 88172645463325252UL ^ (unsigned long)(now() * 1e9) ^ ((unsigned long)getpid() << 32);

  nghttp2_session_callbacks *callbacks;
  nghttp2_session_callbacks_new(&callbacks);
  nghttp2_session_callbacks_set_on_header_callback(callbacks, on_header);
  nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, on_data);
  nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_close);
  Connection *connections = calloc((size_t)connection_count, sizeof *connections);
  struct pollfd *readable = calloc((size_t)connection_count, sizeof *readable);
  for (int place = 0; place < connection_count; place++) {
    open_connection(&connections[place], words[2], callbacks);
    readable[place].fd = connections[place].fd;
    readable[place].events = POLLIN;
  }
  prctl(PR_SET_TIMERSLACK, 1); /* else every sleep until a call is due would be 0.05 ms longer */
  started = now();
  for (int caller = 0; !rate && caller < callers && begun < most_calls; caller++)
    (is_grpc ? begin_grpc_call : begin_http_call)(&connections[caller % connection_count]);
  for (int place = 0; is_grpc && place < connection_count; place++) flush(&connections[place]);
  while (answered < begun || is_due_later()) {
    double patience = stays_awake ? 0 : STALLED_AFTER;
    if (is_due_later() && begun - answered < callers) {
      patience = due() - now();
      if (patience <= 0) {
        Connection *connection = &connections[begun % connection_count];
        begin_grpc_call(connection);
        flush(connection);
        continue;
      }
    }
    struct timespec longest = {(time_t)patience, (long)((patience - (double)(time_t)patience) * 1e9)};
    if (ppoll(readable, (nfds_t)connection_count, &longest, NULL) <= 0 && patience >= STALLED_AFTER)
      fail("the server", "answers no more");
    for (int place = 0; place < connection_count; place++)
      if (readable[place].revents) (is_grpc ? receive_grpc : receive_http)(&connections[place]);
    if (now() - started > seconds + STALLED_AFTER) fail("the server", "takes too long");
  }
  report(warm);
  return 0;
}
