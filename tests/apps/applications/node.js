// node.js PORT|SOCKET: Node's http module. /SERVER/WHAT, described in tests/apps/README.md.
'use strict';
const crypto = require('crypto');
const fs = require('fs');
const http = require('http');
const path = require('path');

const PAUSE_MS = 10;
const HALF = Buffer.alloc(500000, 'x');
const PIECES = Array.from({ length: 30 }, (_, n) => Buffer.alloc(10000, 97 + n % 26));
const file = (name) => path.join(process.env.WEIR_APPS, name);

function whenTold(server, what, then) {
  if (fs.existsSync(file(`${server}-${what}`))) return then();
  setTimeout(whenTold, PAUSE_MS, server, what, then);
}

function firstTime(server, what) {
  try {
    fs.closeSync(fs.openSync(file(`${server}-${what}-once`), 'wx'));
    return true;
  } catch {
    return false;
  }
}

const server = http.createServer((request, response) => {
  const [, name, what] = request.url.split('/');
  const whole = (text, status = 200, fields = {}) => {
    response.writeHead(status, { 'Content-Type': 'text/plain', 'Content-Length': text.length, ...fields });
    response.end(text);
  };
  const actions = {
    get: () => {
      if (request.headers['if-none-match'] === '"one"') return response.writeHead(304, { ETag: '"one"' }).end();
      whole(`hello from ${name}\n`, 200, { ETag: '"one"' });
    },
    204: () => response.writeHead(204).end(),
    early: () => whole('early\n'),
    refuse: () => whole('too large\n', 413, { Connection: 'close' }),
    sum: () => {
      const hash = crypto.createHash('sha256');
      request.on('data', (piece) => hash.update(piece)).on('end', () => whole(hash.digest('hex')));
    },
    down: () => {
      PIECES.forEach((piece) => response.write(piece));
      response.end();
    },
    trailers: () => {
      response.writeHead(200, { Trailer: 'X-Sum, Cache-Control, Set-Cookie, Content-Type' });
      response.write('with trailers\n');
      response.addTrailers({ 'X-Sum': '1', 'Cache-Control': 'no-store', 'Set-Cookie': 'a=b', 'Content-Type': 'text/x' });
      response.end();
    },
    sse: () => {
      response.writeHead(200, { 'Content-Type': 'text/event-stream' });
      response.write('data: 1\n\n');
      whenTold(name, what, () => response.end('data: 2\n\n'));
    },
    close: () => whole('closed\n', 200, { Connection: 'close' }),
    cut: () => {
      response.writeHead(200, { 'Content-Length': 2 * HALF.length });
      response.write(HALF);
      whenTold(name, what, () => response.destroy());
    },
    reset: () => {
      // Neither length nor chunks: only the end of the connection marks the end of the response.
      response.useChunkedEncodingByDefault = false;
      response.writeHead(200, { 'Content-Type': 'text/plain' });
      response.write(HALF);
      whenTold(name, what, () => request.socket.resetAndDestroy());
    },
    hang: () => whenTold(name, what, () => whole('at last\n')),
    crash: () => (firstTime(name, what) ? process.kill(process.pid, 'SIGKILL') : whole('again\n')),
  };
  (actions[what] || (() => whole('', 404)))();
});

// Short text frames only: seven bits of length, and a mask of four bytes from the client.
function echo(socket) {
  let held = Buffer.alloc(0);
  socket.on('data', (bytes) => {
    held = Buffer.concat([held, bytes]);
    while (held.length >= 6 && held.length >= 6 + (held[1] & 127)) {
      const length = held[1] & 127;
      const text = held.subarray(6, 6 + length).map((byte, n) => byte ^ held[2 + n % 4]);
      held = held.subarray(6 + length);
      socket.write(Buffer.concat([Buffer.from([0x81, length]), text]));
    }
  });
}

server.on('upgrade', (request, socket, first) => {
  const accept = crypto.createHash('sha1');
  accept.update(request.headers['sec-websocket-key'] + '258EAFA5-E914-47DA-95CA-C5AB0DC85B11');
  socket.write('HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n' +
    `Sec-WebSocket-Accept: ${accept.digest('base64')}\r\n\r\n`);
  socket.unshift(first);
  echo(socket);
});

server.keepAliveTimeout = 1000;
server.listen(process.argv[2].includes('/') ? { path: process.argv[2] } : { port: process.argv[2], host: '127.0.0.1' });
