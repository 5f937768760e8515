// Reads an array of requests in hexadecimal, and writes an array of how Node's parser (llhttp) interprets them.
'use strict';
const { Duplex } = require('stream');
const http = require('http');

function read(bytes) {
    return new Promise((resolve) => {
        const server = http.createServer({ maxHeaderSize: 1 << 17, requireHostHeader: false, requestTimeout: 0 });
        server.maxHeadersCount = 0;
        let done = false;
        const end = (answer) => { if (!done) { done = true; resolve(answer); socket.destroy(); } };
        const take = (request) => {
            const pieces = [];
            request.on('data', (piece) => pieces.push(piece));
            request.on('error', (error) => end({ error: String(error.code || error) }));
            request.on('end', () => end({
                method: request.method,
                target: request.url,
                version: request.httpVersion,
                fields: request.rawHeaders,
                content: Buffer.concat(pieces).toString('hex'),
            }));
        };
        server.on('request', take);
        server.on('checkContinue', take);
        server.on('checkExpectation', take);
        server.on('clientError', (error) => end({ error: String(error.code) }));
        const socket = new Duplex({ read() {}, write(chunk, encoding, callback) { callback(); } });
        socket.setTimeout = () => socket;
        socket.on('error', () => {});
        server.emit('connection', socket);
        socket.push(bytes);
        setTimeout(() => end({ error: 'incomplete' }), 2000).unref();
    });
}

let input = '';
process.stdin.on('data', (piece) => { input += piece; });
process.stdin.on('end', async () => {
    const answers = [];
    for (const hex of JSON.parse(input)) answers.push(await read(Buffer.from(hex, 'hex')));
    process.stdout.write(JSON.stringify(answers), () => process.exit(0));
});
