"""Lists and fetches objects of S3, through fsspec's s3fs; the only importer of s3fs and botocore.

Credentials, region, profile and endpoint are those of the standard chain of AWS: the environment, ~/.aws, the machine's
role. They are used here and kept nowhere.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Iterator
from typing import Any

from botocore import exceptions as aws
from s3fs import S3FileSystem

from pictocli.transfers import Ask, Body, NotModifiedError, RefusedError

__all__ = ["Buckets"]

_BLOCK = 2**18  # bytes
_ANONYMOUS = "--anonymous reads a public bucket"
_KEYS = f"set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or run aws configure; {_ANONYMOUS}"
_WRONG_KEYS = frozenset(
    ("InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken", "InvalidToken", "TokenRefreshRequired",
     "RequestTimeTooSkewed", "AuthorizationHeaderMalformed")
)  # fmt: skip
_AGAIN = frozenset(("SlowDown", "InternalError", "ServiceUnavailable", "RequestTimeout", "Throttling", "503", "500"))


class Buckets:
    """A client of S3. timeout: seconds that a server may be silent. Made within an event loop.

    anonymous: send no credentials; nothing else does so, whatever is missing.
    """

    def __init__(self, connections: int, timeout: float, *, anonymous: bool) -> None:
        # no retries of its own: one place decides on them, for all transports
        config = {
            "connect_timeout": timeout, "read_timeout": timeout, "max_pool_connections": connections,
            "retries": {"total_max_attempts": 1}, "response_checksum_validation": "when_required",
        }  # fmt: skip
        self._system: Any = S3FileSystem(
            anon=anonymous, asynchronous=True, config_kwargs=config, skip_instance_cache=True
        )

    @contextlib.asynccontextmanager
    async def opened(self, ask: Ask) -> AsyncIterator[Body]:
        """The answer to a GET. See `transfers.Transport`."""
        bucket, key = _split(ask.url)
        more = {"IfNoneMatch": ask.validator} if ask.validator else {}
        if ask.start and ask.of:
            more |= {"Range": f"bytes={ask.start}-", "IfMatch": ask.of}
        with _explained(bucket):
            answer = await (await self._client()).get_object(Bucket=bucket, Key=key, **more)
            start = ask.start if "ContentRange" in answer and "Range" in more else 0
            modified = answer.get("LastModified")
            async with answer["Body"] as stream:
                yield Body(
                    stream.iter_chunks(_BLOCK), answer.get("ContentLength"), start, answer.get("ETag", ""),
                    modified.timestamp() if modified else None,
                )  # fmt: skip

    async def exists(self, url: str) -> bool | None:
        """Whether there is such an object; None when that may not be known."""
        bucket, key = _split(url)
        try:
            with _explained(bucket):
                await (await self._client()).head_object(Bucket=bucket, Key=key)
        except RefusedError as exc:
            return False if exc.gone and not exc.host else None
        return True

    async def page(self, url: str, after: str, count: int = 1000) -> tuple[list[tuple[str, int, float, str]], str]:
        """Up to 1,000 objects below a URL: (key, bytes, seconds since 1970, ETag), and what to go on after, or "".

        Raises RefusedError.
        """
        bucket, key = _split(url)
        more = {"ContinuationToken": after} if after else {}
        with _explained(bucket):
            answer = await (await self._client()).list_objects_v2(Bucket=bucket, Prefix=key, MaxKeys=count, **more)
        found = [
            (each["Key"], each["Size"], each["LastModified"].timestamp(), each.get("ETag", ""))
            for each in answer.get("Contents", ())
        ]
        return found, answer.get("NextContinuationToken", "") if answer.get("IsTruncated") else ""

    async def close(self) -> None:
        """Close all connections."""
        creator = getattr(self._system, "_s3creator", None)
        if creator is not None:
            await creator.__aexit__(None, None, None)

    async def _client(self) -> Any:
        return await self._system.set_session()


def _split(url: str) -> tuple[str, str]:
    bucket, _, key = url.removeprefix("s3://").partition("/")
    return bucket, key


@contextlib.contextmanager
def _explained(bucket: str) -> Iterator[None]:
    """botocore's errors as RefusedError."""
    try:
        yield
    except aws.ClientError as exc:
        raise _refused(exc, bucket) from exc
    except (aws.NoCredentialsError, aws.PartialCredentialsError, aws.ProfileNotFound) as exc:
        reason = "incomplete credentials" if isinstance(exc, aws.PartialCredentialsError) else "no credentials"
        raise RefusedError(f"{reason} for s3://{bucket}", host=True, hint=_KEYS) from exc
    except (aws.CredentialRetrievalError, aws.TokenRetrievalError, aws.SSOError) as exc:
        raise RefusedError(f"no credentials for s3://{bucket}: {exc}", host=True, hint=_KEYS) from exc
    except (aws.EndpointConnectionError, aws.ConnectTimeoutError, aws.ProxyConnectionError, aws.SSLError) as exc:
        place = exc.kwargs.get("endpoint_url", "S3").partition("?")[0]
        raise RefusedError(
            f"cannot reach {place.removesuffix('/')}", again=True, host=True,
            hint="AWS_ENDPOINT_URL and AWS_REGION say where a bucket is",
        ) from exc  # fmt: skip
    except (aws.ReadTimeoutError, TimeoutError) as exc:
        raise RefusedError("no answer in time", again=True, host=True) from exc
    except (aws.ParamValidationError, aws.InvalidEndpointConfigurationError) as exc:
        raise RefusedError("not a key or bucket that S3 knows", host=True) from exc
    except (aws.BotoCoreError, aws.HTTPClientError) as exc:
        raise RefusedError("incomplete download", again=True) from exc
    except (OSError, ValueError) as exc:
        raise RefusedError("the connection broke", again=True) from exc
    except Exception as exc:
        if type(exc).__module__.partition(".")[0] != "aiohttp":  # which lies below, and whose errors pass through
            raise
        raise RefusedError("incomplete download", again=True) from exc


def _refused(exc: Any, bucket: str) -> Exception:
    """An answer of S3 that is an error."""
    code = str(exc.response.get("Error", {}).get("Code", ""))
    status = int(exc.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    if status == 304:
        return NotModifiedError()
    if code == "NoSuchBucket":
        return RefusedError(f"no such bucket: {bucket}", gone=True, host=True, hint="aws s3 ls lists yours")
    if status == 404:
        return RefusedError("not found (404)", gone=True)
    if code in _WRONG_KEYS:
        return RefusedError(f"s3://{bucket} refuses the credentials ({code})", host=True, hint=_KEYS)
    if status in (401, 403):
        hint = f"the credentials need s3:ListBucket and s3:GetObject; {_ANONYMOUS}"
        return RefusedError(f"access to s3://{bucket} denied ({status})", hint=hint)
    if status == 412:  # of a download that goes on: the object is another one now
        return RefusedError("changed while it was fetched", again=True)
    again = status >= 500 or status == 429 or code in _AGAIN
    return RefusedError(f"S3 answers {code or status}", again=again)
