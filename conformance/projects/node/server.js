require("http").createServer((_, res) => res.end("hello")).listen(process.env.PORT)
