// Microseconds that a link of @aws-sdk/cloudfront-signer takes: FOLDER PRIVATE_KEY URL COUNT
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";

const [folder, path, url, count] = process.argv.slice(2);
const { getSignedUrl } = createRequire(`${folder}/`)("@aws-sdk/cloudfront-signer");
const privateKey = readFileSync(path, "utf8");
const sign = () => getSignedUrl({ url, keyPairId: "K1", privateKey, dateLessThan: "2030-01-01" });
for (let i = 0; i < 20; i++) sign();
const begun = process.hrtime.bigint();
for (let i = 0; i < count; i++) sign();
console.log(Number(process.hrtime.bigint() - begun) / 1000 / count);
