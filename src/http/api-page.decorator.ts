import { applyDecorators, type Type } from '@nestjs/common';
import { ApiOkResponse } from '@nestjs/swagger';

/** Documents a route that returns a `Page`: what goes over the wire is an array, and a `Link` header. */
export const ApiPage = (item: Type) =>
  applyDecorators(
    ApiOkResponse({
      type: item,
      isArray: true,
      headers: {
        Link: {
          description: 'Where the next page is: `<path?cursor=…>; rel="next"`. Absent on the last page.',
          schema: { type: 'string' },
        },
      },
    }),
  );
